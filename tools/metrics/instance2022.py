"""The scoring rules of the INSTANCE 2022 challenge, each with its rule for empty sides.

| score | definition | both empty | only truth empty | only prediction empty |
|---|---|---|---|---|
| dice_smooth | (2 tp + s) / (2 tp + fp + fn + s), s = 1e-5 | 1 | about 0 | about 0 |
| rvd | abs(predicted - true volume) / true volume | 0 | inf | 1 |
| nsd | surface Dice at 0.42 mm | 1 | 0 | 0 |
| hd | Hausdorff distance, mm | 0 | inf | inf |
| hd95 | its 95th percentile, mm | 0 | inf | inf |

The challenge leaves the relative volume difference of an empty truth undefined; here it is infinite, so
that a mean shows it instead of hiding it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tools.metrics.overlap import overlap_counts
from tools.metrics.surface import compute_surface_distances

SMOOTH = 1e-5
TOLERANCE_MM = 0.42


def instance2022_scores(
    pred: torch.Tensor, truth: torch.Tensor, spacing: Sequence[float]
) -> dict[str, float]:
    """All scores of one scan.

    Args:
        pred, truth: masks in shape (X, Y, Z), any dtype and device; zero is background.
        spacing: voxel edge lengths in mm.
    """
    surface = compute_surface_distances(pred, truth, spacing)  # also checks the shapes
    masks = (torch.as_tensor(x)[None, None] for x in (pred, truth))
    tp, fp, fn = overlap_counts(*masks)[0, 0].tolist()
    true, predicted = tp + fn, tp + fp
    return {
        "dice_smooth": (2 * tp + SMOOTH) / (true + predicted + SMOOTH),
        "rvd": abs(predicted - true) / true if true else (float("inf") if predicted else 0.0),
        "nsd": surface.surface_dice(TOLERANCE_MM),
        "hd": surface.hausdorff(100),
        "hd95": surface.hausdorff(95),
    }
