"""Pictures and slices as volumes of one slice: read, prepared for 2D networks, masks written back."""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tools.slices.load import LoadSlicesd, slice_cases
    from tools.slices.preprocessing import SlicePreprocessing
    from tools.slices.read import read_slice, read_slice_mask

__all__ = ["LoadSlicesd", "SlicePreprocessing", "read_slice", "read_slice_mask", "slice_cases"]

__getattr__ = lazy_exports(__name__, __file__)
