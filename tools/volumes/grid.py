"""Whether two volumes lie on one grid of voxels, and a label map brought onto the grid of its image.

One rule for data sets, training and scores: no voxel of one lies farther from its partner in the other than a
tenth of a voxel's shortest edge. Voxels stored in another order (3D Slicer and ITK write LPS, FSL often RAS)
are reordered; any other difference is a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

TOLERANCE = 0.1  # of the shortest edge of a voxel


def grid_fault(
    shape: Sequence[int], affine: Any, other_shape: Sequence[int], other_affine: Any, of: object = "the image"
) -> str:
    """What is wrong with a grid, as "expected ..., found ..."; "" where both are one.

    Args:
        shape, affine: the grid that is expected: (X, Y, Z), and 4x4 from voxels to mm.
        other_shape, other_affine: the grid that was found.
        of: what the message calls the owner of the expected grid.
    """
    shape, other_shape = (tuple(map(int, size)) for size in (shape, other_shape))
    if shape != other_shape:
        return f"expected the shape {shape} of {of}, found {other_shape}"
    a, b = np.asarray(affine, np.float64), np.asarray(other_affine, np.float64)
    moved = moved_mm(shape, a, b)
    if not moved:
        return ""
    return (
        f"expected the affine of {of}, {np.round(a, 4).tolist()}, found {np.round(b, 4).tolist()}, "
        f"which moves voxels by up to {moved:.3g} mm"
    )


def moved_mm(shape: Sequence[int], affine: np.ndarray, other: np.ndarray) -> float:
    """By how many mm another affine moves a voxel of a grid at most; 0 within the tolerance."""
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)], np.float64)
    corners[:, :3] *= np.maximum(np.array((*shape, 1))[:3] - 1, 1)  # of a picture too
    moved = float(np.linalg.norm(corners @ (affine - other).T[:, :3], axis=1).max())
    edge = float(np.linalg.norm(affine[:3, :3], axis=0).min())
    return moved if moved > TOLERANCE * edge else 0.0


def reordered(array: np.ndarray, affine: np.ndarray, like: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A volume (X, Y, Z) with its axes in order and direction of the affine `like`, and its affine then."""
    _, turned = reordered_grid(array.shape, affine, like)
    return apply_orientation(array, _turn(affine, like)), turned


def reordered_grid(
    shape: Sequence[int], affine: np.ndarray, like: np.ndarray
) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine of what `reordered` returns."""
    turn = _turn(affine, like)
    axes = np.argsort(turn[:, 0])
    return tuple(shape[axis] for axis in axes), affine @ inv_ornt_aff(turn, shape)


def _turn(affine: np.ndarray, like: np.ndarray) -> np.ndarray:
    return ornt_transform(io_orientation(affine), io_orientation(like))


def whole_values(raw: np.ndarray, picture: bool = True) -> tuple[np.ndarray, str]:
    """A label map's values as whole numbers, and what is wrong with them ("" where nothing is).

    Scaled files miss their whole number by a little (0.9999, 254.97): a hundredth, or a thousandth of the
    value, is rounded away. A map of 0 and 255 alone is a picture of a mask, and becomes 0 and 1.

    Args:
        raw: values in any shape, of any real type.
        picture: False leaves a map of 0 and 255 alone as it is.

    Returns:
        (float32 array of the same shape, fault): the fault is "expected ..., found ...".
    """
    raw = np.asarray(raw, np.float32)
    values = np.rint(raw) + np.float32(0)  # no negative zero
    fault = "expected whole class values from 0 to 255, found "
    if not np.isfinite(raw).all():
        return values, fault + f"{int((~np.isfinite(raw)).sum())} voxels that are NaN or infinite"
    off = np.abs(raw - values) > np.maximum(0.01, 0.001 * np.abs(raw))
    if off.any() or values.min(initial=0) < 0 or values.max(initial=0) > 255:
        example = f", such as {raw[off][0]:.4g}" if off.any() else ""
        return values, fault + f"values from {raw.min():g} to {raw.max():g}{example}"
    if picture and values.max(initial=0) == 255 and not ((values > 0) & (values < 255)).any():
        values /= 255
    return values, ""
