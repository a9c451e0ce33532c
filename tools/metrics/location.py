"""Location accuracy (Li 2021): was the bleeding found at all?

An image with lesion is a hit when prediction and truth overlap in at least one pixel or voxel; location
accuracy is the share of hits. An image without lesion is not in n: its value is NaN, as MONAI marks what a
metric does not count, and `get_not_nans` gives n. Its false alarms are counted by the image-level
specificity. Always show both: a prediction that is foreground everywhere has location accuracy 1.
"""

from __future__ import annotations

from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric, do_metric_reduction
from monai.metrics.utils import ignore_background
from monai.utils import MetricReduction

from tools.metrics.overlap import overlap_counts


def compute_location_accuracy(
    y_pred: torch.Tensor, y: torch.Tensor, include_background: bool = True
) -> torch.Tensor:
    """Does each image's prediction touch the lesion?

    Args:
        y_pred, y: masks in shape (batch, channel, spatial...), one-hot for several classes.
        include_background: whether channel 0 is scored; False for one-hot masks with the background first.

    Returns:
        float32 in shape (batch, channel), on the device of the masks: 1 hit, 0 missed, NaN without lesion.
    """
    return hits(_counts(y_pred, y, include_background))


def compute_image_specificity(
    y_pred: torch.Tensor, y: torch.Tensor, include_background: bool = True
) -> torch.Tensor:
    """Is each image without lesion left empty? Arguments as `compute_location_accuracy`.

    Returns:
        float32 in shape (batch, channel): 1 left empty, 0 false alarm, NaN for an image with lesion.
    """
    tp, fp, fn = _counts(y_pred, y, include_background).unbind(-1)
    return torch.where(tp + fn > 0, torch.nan, (fp == 0).float())


def hits(counts: torch.Tensor) -> torch.Tensor:
    """`compute_location_accuracy` from `overlap_counts` in shape (..., 3), to (...)."""
    tp, _, fn = counts.unbind(-1)
    return torch.where(tp + fn > 0, (tp > 0).float(), torch.nan)


def _counts(y_pred: torch.Tensor, y: torch.Tensor, include_background: bool) -> torch.Tensor:
    if not include_background:
        y_pred, y = ignore_background(y_pred=y_pred, y=y)
    return overlap_counts(y_pred, y)


class LocationAccuracyMetric(CumulativeIterationMetric):
    """Share of the images with lesion that the prediction touches, over a data set (Li 2021); a MONAI metric.

    Args:
        include_background: whether channel 0 is scored.
        reduction: as in MONAI's metrics ("mean", "mean_batch", "sum", "none" ...).
        get_not_nans: also return n, the number of images with lesion. A mean over n = 0 is 0, as in MONAI.
    """

    _compute = staticmethod(compute_location_accuracy)

    def __init__(
        self,
        include_background: bool = True,
        reduction: MetricReduction | str = MetricReduction.MEAN,
        get_not_nans: bool = False,
    ) -> None:
        super().__init__()
        self.include_background, self.reduction = include_background, reduction
        self.get_not_nans = get_not_nans

    def _compute_tensor(  # type: ignore[override] # both are asked for, where MONAI's may lack one
        self, y_pred: torch.Tensor, y: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        """y_pred, y: in shape (batch, channel, spatial...); returns (batch, channel)."""
        return self._compute(y_pred, y, self.include_background)

    def aggregate(
        self, reduction: MetricReduction | str | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Reduce what has been collected; with `get_not_nans` a pair (value, n)."""
        data = self.get_buffer()
        if not isinstance(data, torch.Tensor):
            raise ValueError(f"expected at least one batch before aggregate(), found {type(data).__name__}")
        value, not_nans = do_metric_reduction(data, reduction or self.reduction)
        return (value, not_nans) if self.get_not_nans else value


class ImageSpecificityMetric(LocationAccuracyMetric):
    """Share of the images without lesion that are left empty; arguments as `LocationAccuracyMetric`."""

    _compute = staticmethod(compute_image_specificity)
