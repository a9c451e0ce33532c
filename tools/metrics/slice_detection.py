"""Slice-level detection at probability thresholds (Hssayeni 2020, table 6).

A slice is called positive when one of its pixels has a probability at or above the threshold, and is positive
in truth when one of its pixels is lesion. Without positive slices sensitivity is None; without negative ones,
specificity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tools.core.tensors import as_mask, plain
from tools.metrics.masks import check_pair

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


def slice_detection_counts(
    prob: torch.Tensor,
    truth: torch.Tensor,
    thresholds: Sequence[float] = THRESHOLDS,
    slice_dim: int | None = -1,
) -> torch.Tensor:
    """Count the slices of every image.

    Args:
        prob: probability of lesion (or a 0/1 mask), shape (batch, 1, spatial...).
        truth: mask in the same shape.
        thresholds: in [0, 1].
        slice_dim: axis that counts the slices of a volume; None if each image of the batch is one slice.

    Returns:
        int64 in shape (batch, thresholds, 4): slices that are tp, fp, tn, fn.
    """
    check_pair(prob, truth, "probabilities and truth")
    prob, truth = plain(prob), as_mask(truth)
    prob = prob if prob.is_floating_point() else prob.float()
    prob, truth = (x[:, None] if slice_dim is None else x.movedim(slice_dim, 1) for x in (prob, truth))
    score, positive = prob.flatten(2).amax(2), truth.flatten(2).any(2)
    # compare in the dtype of the probabilities: 0.6 is then the same number on both sides
    called = score[:, None] >= torch.tensor(list(thresholds), dtype=score.dtype, device=score.device)[:, None]
    positive = positive[:, None]
    outcomes = [called & positive, called & ~positive, ~called & ~positive, ~called & positive]
    return torch.stack([o.sum(-1) for o in outcomes], dim=-1)


def slice_detection_table(
    counts: torch.Tensor, thresholds: Sequence[float] = THRESHOLDS
) -> list[dict[str, Any]]:
    """Sensitivity, specificity, accuracy of each threshold, from counts in shape (thresholds, 4)."""
    rows = []
    for threshold, (tp, fp, tn, fn) in zip(thresholds, counts.tolist(), strict=True):
        shares = {
            "sensitivity": tp / (tp + fn) if tp + fn else None,
            "specificity": tn / (tn + fp) if tn + fp else None,
            "accuracy": (tp + tn) / (tp + fp + tn + fn) if tp + fp + tn + fn else None,
        }
        rows.append({"threshold": float(threshold), **shares, "tp": tp, "fp": fp, "tn": tn, "fn": fn})
    return rows
