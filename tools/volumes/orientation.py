"""Whether the anatomy lies as the affine says: nose in front, vertex on top, as long as it should be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from tools.volumes.coverage import coarse

__all__ = ["default_affine", "orientation_doubts"]

LONGER = 0.93  # a brain's length from front to back over its width and height; real ones are 1.1 and more
SLAB_MM = 45.0  # of brain: less, at the base, is as wide as it is long
WHOLE_MM = 90.0  # of brain from base to vertex: below, its height says nothing
BRAIN_ML = (350.0, 2300.0)  # of a scan that shows all of it, newborns to the largest
AIR_ML = 1.5  # in nose and sinuses, near the midline, that is enough to tell front from back
ASIDE_MM = 15.0  # behind or above the brain's middle, where that air is never


def orientation_doubts(hu: np.ndarray, brain: np.ndarray, affine: np.ndarray) -> list[str]:
    """Sentences on what contradicts the affine; left and right alone cannot be told apart by anatomy.

    Args:
        hu: (X, Y, Z), RAS by its affine.
        brain: mask of the same shape.
        affine: voxel to world (RAS+ mm).
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    hu, brain, spacing = coarse(hu, brain, spacing)
    points = np.argwhere(brain) * spacing
    if len(points) < 100:
        return []
    spread, middle = points.std(0), points.mean(0)
    levels = np.flatnonzero(brain.any((0, 1)))
    height = len(levels) * float(spacing[2])
    doubts = []
    wide = height >= SLAB_MM and spread[1] < LONGER * spread[0]
    if wide or (height >= WHOLE_MM and spread[1] < LONGER * spread[2]):
        doubts.append("the brain is not longest from front to back")
    air = _air_mm(hu, spacing, middle)
    if air is not None and air[1] < -ASIDE_MM:
        doubts.append("the air of nose and sinuses lies behind the brain")
    if air is not None and air[2] > ASIDE_MM:
        doubts.append("the air of nose and sinuses lies above the brain")
    ml = len(points) * float(np.prod(spacing)) / 1000
    if height >= WHOLE_MM and not BRAIN_ML[0] <= ml <= BRAIN_ML[1]:
        doubts.append(f"the brain has {ml:.0f} mL")
    if not doubts:
        return []
    return [
        f"The head does not lie as the file says ({', '.join(doubts)}): no side is stated, and volumes hold "
        "only if the voxel size does. Check the affine."
    ]


def default_affine(affine: np.ndarray, shape: Sequence[int]) -> list[str]:
    """A sentence, where an affine is what programs write that were told none.

    These are axes along the voxels with the first voxel at 0 (ITK, NumPy), or NIfTI's own (X to the left, the
    middle of the volume at 0). No scanner puts either exactly there.

    Args:
        affine: voxel to world (RAS+ mm), of a file whose format does not oblige it to be true.
        shape: (X, Y, Z).
    """
    mm = np.diag(affine)[:3]
    if np.abs(affine[:3, :3] - np.diag(mm)).max() > 1e-6:
        return []
    middle = affine[:3, 3] + (np.array(shape) - 1) / 2 * mm
    if affine[:3, 3].any() and not (mm[0] < 0 < mm[1] and np.abs(middle).max() < 1e-3):
        return []
    text = (
        "The affine of the file is a default one and says nothing about how the head lies: no side is stated."
    )
    if (np.abs(mm) == 1).all():
        text += " The voxel size of 1 mm, and so every volume, may be a default too."
    return [text]


def _air_mm(hu: np.ndarray, spacing: np.ndarray, middle: np.ndarray) -> np.ndarray | None:
    """mm from the brain's middle to that of the air within the head, near the midline; None without any."""
    step = [max(1, round(2 / float(mm))) for mm in spacing]
    small = hu[tuple(slice(None, None, s) for s in step)]
    mm = spacing * step
    head = small > -400
    closed = np.stack([ndimage.binary_fill_holes(head[..., k]) for k in range(head.shape[2])], -1)
    air = closed & (small < -500)
    where = np.argwhere(air) * mm - middle
    where = where[np.abs(where[:, 0]) < 25]
    if len(where) * float(np.prod(mm)) / 1000 < AIR_ML:
        return None
    return np.median(where, axis=0)
