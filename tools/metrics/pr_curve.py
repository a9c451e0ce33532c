"""Precision-recall curve over thresholds and its area, streamed over a data set with fixed memory.

Probabilities are counted into 1024 bins of equal width, for lesion and for background voxels. A product with
a power of two is exact, so the curve is exactly that of `probability >= k / 1024` for every k. Where nothing
is predicted precision is 1. Without any lesion voxel in the whole set there is no curve: InputError.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tools.core.errors import InputError
from tools.core.tensors import as_mask, plain
from tools.metrics.masks import check_pair

BINS = 1024


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """Values at each threshold, ascending; all tensors float64 in shape (thresholds,)."""

    thresholds: torch.Tensor
    precision: torch.Tensor
    recall: torch.Tensor
    average_precision: float  # sum of precision times step in recall (no interpolation)
    area: float  # trapezoidal area under the curve


def pr_counts(prob: torch.Tensor, truth: torch.Tensor, bins: int = BINS) -> torch.Tensor:
    """Histogram of the probabilities of background and lesion voxels.

    Args:
        prob: probabilities of lesion in [0, 1], float, shape (batch, 1, spatial...).
        truth: mask in the same shape.
        bins: a power of two.

    Returns:
        int64 in shape (2, bins + 2), on the device of `prob`: [background, lesion]; the last but one bin
        holds probability 1, the last one what is no probability (NaN, below 0, above 1).
    """
    check_pair(prob, truth, "probabilities and truth")
    if bins < 1 or bins & (bins - 1):
        raise InputError(f"precision-recall curve: expected a power of two as number of bins, found {bins}")
    p, t = plain(prob).float().flatten(), as_mask(truth).flatten()
    valid = (p >= 0) & (p <= 1)
    index = torch.where(valid, p * bins, bins + 1).to(torch.int64)
    index = index + t * (bins + 2)
    return torch.bincount(index, minlength=2 * (bins + 2)).view(2, bins + 2)


def pr_curve(counts: torch.Tensor) -> PrecisionRecallCurve:
    """The curve of summed `pr_counts`.

    Raises:
        InputError: if a value was no probability, or if the set has no lesion voxel.
    """
    counts = counts.cpu()
    if outside := int(counts[:, -1].sum()):
        raise InputError(
            f"precision-recall curve: expected probabilities between 0 and 1, found {outside} voxels outside "
            "(or NaN)"
        )
    # voxels at or above each threshold
    above = counts[:, :-1].flip(-1).cumsum(-1).flip(-1).to(torch.float64)
    fp, tp = above
    if tp[0] == 0:
        raise InputError(
            "precision-recall curve: expected a set with lesion, found no lesion voxel in its truth"
        )
    precision = torch.where(tp + fp > 0, tp / (tp + fp).clamp(min=1), 1.0)
    recall = tp / tp[0]
    # from the highest threshold down, starting at the end point (recall 0, precision 1)
    r = torch.cat([recall.new_zeros(1), recall.flip(0)])
    p = torch.cat([precision.new_ones(1), precision.flip(0)])
    step = r.diff()
    bins = counts.shape[-1] - 2
    return PrecisionRecallCurve(
        thresholds=torch.arange(bins + 1, dtype=torch.float64) / bins,
        precision=precision,
        recall=recall,
        average_precision=float((step * p[1:]).sum()),
        area=float((step * (p[1:] + p[:-1]) / 2).sum()),
    )
