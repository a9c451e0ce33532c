"""Lesion-level detection: 3D components, matched one to one, on the host.

A true and a predicted component may be partners when their IoU is at least `min_iou` (and not zero); among
all one-to-one assignments the one with most partners is taken, and among those the one with the largest
summed IoU (Hungarian method, SciPy). A predicted component that bridges two bleeds therefore finds one of
them, and a bleed split into two pieces is found once and has one false lesion.

Empty sides, one rule as for overlap: 0/0 is 1 if there are neither true nor predicted lesions, otherwise 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cc3d
import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from tools.core.errors import InputError
from tools.core.tensors import as_mask

SIZE_EDGES_ML = (1.0, 10.0, 30.0)


@dataclass(frozen=True)
class LesionMatch:
    """Lesions of one scan and who found whom."""

    truth_ml: np.ndarray  # (n_truth,) volume of each true lesion, mL
    pred_ml: np.ndarray  # (n_pred,) volume of each predicted lesion, mL
    partners: np.ndarray  # (n, 2) index of the true and of the predicted lesion of each match
    iou: np.ndarray  # (n,) of each match

    @property
    def counts(self) -> tuple[int, int, int]:
        """Lesions found, false lesions, lesions missed."""
        found = len(self.partners)
        return found, len(self.pred_ml) - found, len(self.truth_ml) - found

    def rows(self, case: str) -> list[dict[str, Any]]:
        """One row per lesion, true and predicted, with its volume and whether it has a partner."""
        rows = []
        for side, volumes in enumerate((self.truth_ml, self.pred_ml)):
            iou = dict(zip(self.partners[:, side].tolist(), self.iou.tolist(), strict=True))
            rows += [
                {
                    "case": case, "side": ("truth", "pred")[side], "volume_ml": ml, "matched": int(i in iou),
                    "iou": iou.get(i),
                }
                for i, ml in enumerate(volumes.tolist())
            ]  # fmt: skip
        return rows


def match_lesions(
    pred: torch.Tensor | np.ndarray,
    truth: torch.Tensor | np.ndarray,
    spacing: Sequence[float],
    min_iou: float = 0.1,
    connectivity: int = 26,
    voxel_ml: float | None = None,
) -> LesionMatch:
    """Find and match the lesions of one scan.

    Args:
        pred, truth: masks in shape (X, Y, Z), zero is background.
        spacing: voxel edge lengths in mm.
        min_iou: smallest IoU of partners; 0 for any overlap.
        connectivity: 6, 18 or 26 neighbours.
        voxel_ml: volume of a voxel, where its edges are not perpendicular; None is their product.
    """
    pred, truth = (as_mask(x).cpu().numpy() for x in (pred, truth))
    if pred.shape != truth.shape or pred.ndim != 3:
        raise InputError(
            f"lesions: expected two masks of the same shape (X, Y, Z), found {pred.shape} and {truth.shape}"
        )
    if voxel_ml is None:
        voxel_ml = float(np.prod(np.asarray(spacing, dtype=np.float64))) / 1000
    connected_components: Any = cc3d.connected_components  # its stubs know no bool
    t, n_truth = connected_components(truth, connectivity=connectivity, return_N=True)
    p, n_pred = connected_components(pred, connectivity=connectivity, return_N=True)
    # voxels that each pair of components shares; row and column 0 are background
    either = (t > 0) | (p > 0)
    pair = t[either].astype(np.int64) * (n_pred + 1) + p[either]
    shared = np.bincount(pair, minlength=(n_truth + 1) * (n_pred + 1)).reshape(n_truth + 1, n_pred + 1)
    truth_size, pred_size = shared.sum(1)[1:], shared.sum(0)[1:]
    shared = shared[1:, 1:]
    iou = shared / np.maximum(truth_size[:, None] + pred_size[None] - shared, 1)
    partners = best_assignment(np.where(iou >= min_iou, iou, 0))
    matched = iou[partners[:, 0], partners[:, 1]]
    return LesionMatch(truth_size * voxel_ml, pred_size * voxel_ml, partners, matched)


def best_assignment(iou: np.ndarray) -> np.ndarray:
    """One-to-one pairs (row, column) with iou > 0: most pairs, then largest sum; int64, shape (n, 2)."""
    # the sum of all IoU is below this constant, so one more pair always wins
    bonus = min(iou.shape, default=0) + 1
    rows, columns = linear_sum_assignment(np.where(iou > 0, bonus + iou, 0), maximize=True)
    real = iou[rows, columns] > 0
    return np.stack([rows[real], columns[real]], axis=1).astype(np.int64)


def lesion_scores(found: int, false: int, missed: int) -> dict[str, float]:
    """Sensitivity, precision and F1 from counts; 0/0 is 1 without any lesion on either side, otherwise 0."""
    nothing = float(found + false + missed == 0)
    return {
        "sensitivity": found / (found + missed) if found + missed else nothing,
        "precision": found / (found + false) if found + false else nothing,
        "f1": 2 * found / (2 * found + false + missed) if found + false + missed else nothing,
    }


def lesion_summary(
    rows: Sequence[dict[str, Any]], n_scans: int, size_edges_ml: Sequence[float] = SIZE_EDGES_ML
) -> list[dict[str, Any]]:
    """Detection over a data set, for all lesions and by size.

    A true lesion belongs to the size class of its own volume, a false one to that of the predicted volume;
    a class [a, b) holds volumes from a up to but not including b mL.

    Args:
        rows: of `LesionMatch.rows`, of all scans.
        n_scans: number of scans, also those without any lesion.

    Returns:
        one row per size class, "all" first: found, missed, false, sensitivity, precision, f1, false_per_scan.
    """
    edges = [0.0, *size_edges_ml, float("inf")]
    classes = [("all", 0.0, float("inf"))]
    for low, high in pairwise(edges):
        classes.append((f"{low:g}-{high:g} mL" if high < float("inf") else f"from {low:g} mL", low, high))
    table = []
    for name, low, high in classes:
        outcomes = Counter((r["side"], bool(r["matched"])) for r in rows if low <= r["volume_ml"] < high)
        found, missed = outcomes["truth", True], outcomes["truth", False]
        false = outcomes["pred", False]
        row = {"size": name, "found": found, "missed": missed, "false": false}
        row |= lesion_scores(found, false, missed)
        table.append({**row, "false_per_scan": false / n_scans if n_scans else 0.0})
    return table
