"""Symmetry of the head: the mid-sagittal plane, and the mirrored image as the network's second channel."""

from tools.symmetry.mirror import align_to_midline, symmetry_map
from tools.symmetry.plane import SymmetryPlane, estimate_symmetry_plane, estimate_symmetry_planes
from tools.symmetry.slices import estimate_symmetry_axes, slice_symmetry_map
from tools.symmetry.transform import SymmetryMapd

__all__ = [
    "SymmetryMapd",
    "SymmetryPlane",
    "align_to_midline",
    "estimate_symmetry_axes",
    "estimate_symmetry_plane",
    "estimate_symmetry_planes",
    "slice_symmetry_map",
    "symmetry_map",
]
