"""Symmetry of the head: the mid-sagittal plane, and the mirrored image as the network's second channel."""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tools.symmetry.mirror import align_to_midline, symmetry_map
    from tools.symmetry.plane import SymmetryPlane, estimate_symmetry_plane, estimate_symmetry_planes
    from tools.symmetry.slices import estimate_symmetry_axes, slice_symmetry_map
    from tools.symmetry.transform import SymmetryMapd

__all__ = [
    "SymmetryMapd", "SymmetryPlane", "align_to_midline", "estimate_symmetry_axes",
    "estimate_symmetry_plane", "estimate_symmetry_planes", "slice_symmetry_map", "symmetry_map",
]  # fmt: skip

__getattr__ = lazy_exports(__name__, __file__)
