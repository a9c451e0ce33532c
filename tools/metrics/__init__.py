"""Metrics a stroke paper and a clinician both need: batched, on any device, empty sides by a stated rule."""

from tools.metrics.compare import compare_files, compare_runs, holm, paired_tests
from tools.metrics.handlers import ImageSpecificity, LocationAccuracy
from tools.metrics.instance2022 import INSTANCE_NAMES, instance2022_scores
from tools.metrics.lesion import LesionMatch, lesion_scores, lesion_summary, match_lesions
from tools.metrics.location import (
    ImageSpecificityMetric,
    LocationAccuracyMetric,
    compute_image_specificity,
    compute_location_accuracy,
    image_specificity_of,
    location_accuracy_of,
)
from tools.metrics.overlap import (
    OVERLAP_NAMES,
    compute_overlap,
    compute_pooled_overlap,
    overlap_counts,
    overlap_scores,
)
from tools.metrics.page import summary_markdown
from tools.metrics.pr_curve import PrecisionRecallCurve, PrecisionRecallMetric, pr_counts, pr_curve
from tools.metrics.report import SegmentationReport
from tools.metrics.slice_detection import SliceDetectionMetric, slice_detection_counts, slice_detection_table
from tools.metrics.summary import summarize
from tools.metrics.surface import SurfaceDistances, compute_surface_distances
from tools.metrics.tables import read_csv
from tools.metrics.volume import abc_half_ml, abc_half_total_ml, bland_altman, class_volumes_ml, volume_ml

__all__ = [
    "INSTANCE_NAMES",
    "OVERLAP_NAMES",
    "ImageSpecificity",
    "ImageSpecificityMetric",
    "LesionMatch",
    "LocationAccuracy",
    "LocationAccuracyMetric",
    "PrecisionRecallCurve",
    "PrecisionRecallMetric",
    "SegmentationReport",
    "SliceDetectionMetric",
    "SurfaceDistances",
    "abc_half_ml",
    "abc_half_total_ml",
    "bland_altman",
    "class_volumes_ml",
    "compare_files",
    "compare_runs",
    "compute_image_specificity",
    "compute_location_accuracy",
    "compute_overlap",
    "compute_pooled_overlap",
    "compute_surface_distances",
    "holm",
    "image_specificity_of",
    "instance2022_scores",
    "lesion_scores",
    "lesion_summary",
    "location_accuracy_of",
    "match_lesions",
    "overlap_counts",
    "overlap_scores",
    "paired_tests",
    "pr_counts",
    "pr_curve",
    "read_csv",
    "slice_detection_counts",
    "slice_detection_table",
    "summarize",
    "summary_markdown",
    "volume_ml",
]
