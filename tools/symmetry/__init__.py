"""Symmetry of the head: the mirrored image, aligned with the original, as the network's second channel."""

from tools.symmetry.transform import SymmetryMapd

__all__ = ["SymmetryMapd"]
