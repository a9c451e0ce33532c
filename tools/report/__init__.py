"""The report of an evaluation: every case scored; tables, plots and a page written."""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tools.report.handler import SegmentationReport

__all__ = ["SegmentationReport"]

__getattr__ = lazy_exports(__name__, __file__)
