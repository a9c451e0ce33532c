"""Predictions against several raters: the metrics of MBH-Seg 2025, of a set of masks against a set of masks.

Definitions as in D-Persona (Wu et al., CVPR 2024), whose metrics the challenge takes, of masks of any
hemorrhage, and of each type where masks tell types. With d = 1 - IoU, self included in the means E:

| column | what |
|---|---|
| `ged` | generalized energy distance, 2 E d(pred, rater) - E d(pred, pred') - E d(rater, rater') |
| `dice_max` | for each prediction the Dice of its nearest rater, averaged |
| `dice_max_reverse` | for each rater the Dice of the nearest prediction, averaged |
| `dice_match` | Dice of the pairs of the best one-to-one matching (Hungarian algorithm), averaged |
| `dice_soft` | Dice of the averaged masks above 0.1, 0.3, 0.5, 0.7 and 0.9, averaged |
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

__all__ = ["COLUMNS", "rater_files", "set_scores"]

COLUMNS = ("ged", "dice_max", "dice_max_reverse", "dice_match", "dice_soft")
THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)


def set_scores(preds: Sequence[np.ndarray], raters: Sequence[np.ndarray]) -> dict[str, float]:
    """The metrics of one case.

    Args:
        preds: one or more predicted masks, bool, of one shape.
        raters: one or more reference masks, bool, of that shape.

    Returns:
        `COLUMNS`. Two empty masks agree: their Dice and IoU are 1.
    """
    dice = np.array([[_dice(rater, pred) for pred in preds] for rater in raters])
    rows, columns = linear_sum_assignment(1 - dice)
    soft = [np.mean(np.stack(masks).astype(np.float32), axis=0) for masks in (raters, preds)]
    return {
        "ged": 2 * _distance(preds, raters) - _distance(preds, preds) - _distance(raters, raters),
        "dice_max": float(dice.max(0).mean()),
        "dice_max_reverse": float(dice.max(1).mean()),
        "dice_match": float(dice[rows, columns].mean()),
        "dice_soft": float(np.mean([_dice(soft[0] > t, soft[1] > t) for t in THRESHOLDS])),
    }


def rater_files(folder: Path) -> dict[str, dict[str, Path]]:
    """Masks of each rater by case, of a tree CASE/label_annot_RATER.nii.gz."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*/label_annot_*.nii*")):
        rater = path.name.removeprefix("label_annot_").partition(".")[0]
        found.setdefault(path.parent.name, {})[rater] = path
    return found


def _distance(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> float:
    """Mean of 1 - IoU over all pairs."""
    return float(np.mean([[1 - _iou(a, b) for b in second] for a in first]))


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def _dice(a: Any, b: Any) -> float:
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 1.0
