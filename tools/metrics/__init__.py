"""Metrics a stroke paper and a clinician both need: batched, on any device, empty sides by a stated rule."""

from tools.metrics.overlap import (
    OVERLAP_NAMES,
    compute_overlap,
    compute_pooled_overlap,
    overlap_counts,
    overlap_scores,
)
from tools.metrics.report import SegmentationReport
from tools.metrics.summary import summarize, summary_markdown

__all__ = [
    "OVERLAP_NAMES",
    "SegmentationReport",
    "compute_overlap",
    "compute_pooled_overlap",
    "overlap_counts",
    "overlap_scores",
    "summarize",
    "summary_markdown",
]
