"""Ignite handlers, for the `key_metric` and `additional_metrics` of a MONAI evaluator."""

from __future__ import annotations

from collections.abc import Callable

from monai.handlers.ignite_metric import IgniteMetricHandler
from monai.utils import MetricReduction

from tools.metrics.location import ImageSpecificityMetric, LocationAccuracyMetric


class LocationAccuracy(IgniteMetricHandler):
    """Location accuracy of an evaluation (see `LocationAccuracyMetric`).

    Args:
        include_background: whether channel 0 is scored.
        reduction: as in MONAI's metrics.
        output_transform: gives (y_pred, y) from `engine.state.output`, e.g. `monai.handlers.from_engine`.
        save_details: whether to keep every image's value in `engine.state.metric_details`.
    """

    _metric = LocationAccuracyMetric

    def __init__(
        self,
        include_background: bool = True,
        reduction: MetricReduction | str = MetricReduction.MEAN,
        output_transform: Callable = lambda x: x,
        save_details: bool = True,
    ) -> None:
        metric = self._metric(include_background=include_background, reduction=reduction)
        super().__init__(metric_fn=metric, output_transform=output_transform, save_details=save_details)


class ImageSpecificity(LocationAccuracy):
    """Image-level specificity of an evaluation; arguments as `LocationAccuracy`."""

    _metric = ImageSpecificityMetric
