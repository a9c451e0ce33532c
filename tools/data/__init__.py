"""Lists of cases: read and checked, split by patient, cached by content."""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tools.data.cache import CachedDataset
    from tools.data.datalist import (
        default_datalist,
        evaluation_cases,
        inference_cases,
        load_datalist,
        select_folds,
    )
    from tools.data.splits import one_side_per_patient

__all__ = [
    "CachedDataset", "default_datalist", "evaluation_cases", "inference_cases", "load_datalist",
    "one_side_per_patient", "select_folds",
]  # fmt: skip

__getattr__ = lazy_exports(__name__, __file__)
