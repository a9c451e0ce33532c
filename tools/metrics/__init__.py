"""Metrics a stroke paper and a clinician both need: batched, on any device, empty sides by a stated rule."""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tools.metrics.instance2022 import instance2022_scores
    from tools.metrics.lesion import LesionMatch, lesion_scores, lesion_summary, match_lesions
    from tools.metrics.location import (
        ImageSpecificityMetric,
        LocationAccuracyMetric,
        compute_image_specificity,
        compute_location_accuracy,
    )
    from tools.metrics.overlap import compute_overlap, compute_pooled_overlap
    from tools.metrics.pr_curve import PrecisionRecallCurve
    from tools.metrics.surface import SurfaceDistances, compute_surface_distances
    from tools.metrics.volume import abc_half_ml, abc_half_total_ml, bland_altman, volume_ml

__all__ = [
    "ImageSpecificityMetric", "LesionMatch", "LocationAccuracyMetric", "PrecisionRecallCurve",
    "SurfaceDistances", "abc_half_ml", "abc_half_total_ml", "bland_altman",
    "compute_image_specificity", "compute_location_accuracy", "compute_overlap", "compute_pooled_overlap",
    "compute_surface_distances", "instance2022_scores", "lesion_scores", "lesion_summary",
    "match_lesions", "volume_ml",
]  # fmt: skip

__getattr__ = lazy_exports(__name__, __file__)
