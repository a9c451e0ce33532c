"""Hemorrhage as a range of grey values, found by grid search: the baseline of Hssayeni 2020 (section 5).

A slice enters as two histograms, of its lesion and of the rest. Sums over a range of grey values are then
differences of cumulative histograms, and all pairs of thresholds of all slices are scored at once; the pixels
are read a single time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tools.core.errors import InputError

__all__ = ["LOWER", "UPPER", "ThresholdFit", "best_thresholds", "grey_histograms", "jaccard_grid"]

LOWER, UPPER = range(100, 211), range(210, 256)
"""Thresholds that the paper searches; its step is not stated, ours is 1."""

GREYS = 256
CHUNK = 16  # slices counted at once: indices are int64, eight times the slices' own size


@dataclass(frozen=True)
class ThresholdFit:
    """The best pair of thresholds: hemorrhage is `lower <= grey <= upper`.

    Attributes:
        lower, upper: grey values, 0 to 255.
        jaccard: what it reaches on the slices it was chosen on.
        grid: that of every pair, (lower, upper) float64.
    """

    lower: int
    upper: int
    jaccard: float
    grid: Tensor


def grey_histograms(grey: Tensor, lesion: Tensor) -> Tensor:
    """Histograms of the grey values outside and inside of the lesion, slice by slice.

    Args:
        grey: (S, H, W) uint8.
        lesion: (S, H, W) bool.

    Returns:
        (S, 2, 256) int64 on the same device: first outside, then inside.

    Raises:
        InputError: other dtypes, or shapes that differ.
    """
    if grey.dtype != torch.uint8 or lesion.dtype != torch.bool or grey.shape != lesion.shape:
        raise InputError(
            "grey_histograms: expected uint8 slices and bool masks of the same shape, found "
            f"{grey.dtype} {tuple(grey.shape)} and {lesion.dtype} {tuple(lesion.shape)}"
        )
    parts = []
    for values, inside in zip(grey.split(CHUNK), lesion.split(CHUNK), strict=True):
        count = len(values)
        row = torch.arange(count, device=grey.device).view(-1, *(1,) * (grey.ndim - 1)) * (2 * GREYS)
        index = (row + inside.to(torch.int64) * GREYS).add_(values)
        parts.append(torch.bincount(index.flatten(), minlength=count * 2 * GREYS).view(count, 2, GREYS))
    return torch.cat(parts)


def jaccard_grid(histograms: Tensor, lower: Sequence[int] = LOWER, upper: Sequence[int] = UPPER) -> Tensor:
    """Jaccard index of every slice for every pair of thresholds.

    Args:
        histograms: (S, 2, 256) of `grey_histograms`.
        lower, upper: thresholds; pairs whose lower one is above the upper one find nothing.

    Returns:
        (S, len(lower), len(upper)) float64; 1 where neither truth nor range has a pixel.
    """
    below = torch.nn.functional.pad(histograms.cumsum(-1), (1, 0))  # pixels darker than each grey value
    low = torch.tensor(list(lower), device=histograms.device)
    high = torch.tensor(list(upper), device=histograms.device) + 1
    found = (below[:, :, None, high] - below[:, :, low, None]).clamp_(min=0)  # (S, 2, lower, upper)
    outside, inside = found.unbind(1)
    union = histograms[:, 1].sum(-1)[:, None, None] + outside
    return torch.where(union > 0, inside.double() / union.clamp(min=1), 1.0)


def best_thresholds(
    histograms: Tensor,
    lower: Sequence[int] = LOWER,
    upper: Sequence[int] = UPPER,
    pooled: bool = False,
) -> ThresholdFit:
    """The pair of thresholds with the highest Jaccard index; of equals, the lowest lower, then upper one.

    Args:
        histograms: (S, 2, 256) of the training slices.
        lower, upper: thresholds to choose from.
        pooled: False, the mean of the slices' indices, as the paper scores; True, one index of all pixels.

    Raises:
        InputError: no slice.
    """
    if len(histograms) == 0:
        raise InputError("best_thresholds: expected at least one slice, found none")
    if pooled:
        histograms = histograms.sum(0, keepdim=True)
    grid = jaccard_grid(histograms, lower, upper).mean(0)
    best = int(grid.argmax())
    row, column = divmod(best, grid.shape[1])
    return ThresholdFit(int(lower[row]), int(upper[column]), float(grid[row, column]), grid)
