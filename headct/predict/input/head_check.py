"""Whether a volume shows a head: on a slice of one, bone surrounds brain in most directions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

__all__ = ["HEAD_MM", "head_extent_mm"]

#: mm of head that a volume must show; thin slabs of a head are fewer.
HEAD_MM = 8.0
BONE_HU = 180.0
TISSUE_HU = (-5.0, 95.0)  # brain, fluid and blood
RADIUS_MM = (30.0, 115.0)  # of the inner table, from a child's to a large head's
RAYS = 72
SURROUNDED = 0.6  # share of directions with bone: half a skull may be missing after surgery
FILLED = 0.75  # share of what lies inside that is tissue: none in jaw and thorax
STEP_MM = 2.0


def head_extent_mm(volume: np.ndarray, spacing: Sequence[float], most: int = 48) -> float:
    """mm of a volume, along the axis that shows most, whose slices show bone around brain.

    Args:
        volume: (X, Y, Z) HU in any orientation.
        spacing: mm of a voxel along each axis.
        most: slices to look at along each axis.
    """
    best = 0.0
    for axis in (2, 1, 0):
        slices = np.moveaxis(volume, axis, 0)
        mm = [s for i, s in enumerate(spacing) if i != axis]
        chosen = np.unique(np.linspace(0, len(slices) - 1, min(most, len(slices))).round().astype(int))
        share = np.mean([is_head_slice(slices[k], mm) for k in chosen])
        best = max(best, float(share) * len(slices) * float(spacing[axis]))
        if best >= 10 * HEAD_MM:
            break
    return best


def is_head_slice(plane: np.ndarray, spacing: Sequence[float]) -> bool:
    """Whether bone surrounds brain on a slice (X, Y) in HU with pixels of `spacing` mm."""
    steps = [max(1, round(STEP_MM / float(mm))) for mm in spacing]
    plane = np.asarray(plane[:: steps[0], :: steps[1]], dtype=np.float32)
    mm = np.array([float(s) * n for s, n in zip(spacing, steps, strict=True)])
    bone = plane > BONE_HU
    parts, count = ndimage.label(plane > -300)
    if not count or not bone.any():
        return False
    body = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    middle = np.array(ndimage.center_of_mass(body))
    angles = np.arange(RAYS) * 2 * np.pi / RAYS
    radii = np.arange(RADIUS_MM[0] / 2, RADIUS_MM[1], 1.0)
    along = np.stack([np.cos(angles), np.sin(angles)])[:, :, None] * radii
    index = (middle[:, None, None] + along / mm[:, None, None]).round().astype(int)
    inside = ((index >= 0) & (index < np.array(plane.shape)[:, None, None])).all(0)
    index = np.clip(index, 0, np.array(plane.shape)[:, None, None] - 1)
    on_ray = bone[tuple(index)] & inside
    hit = on_ray & (radii >= RADIUS_MM[0])
    found = hit.any(1)
    if found.mean() < SURROUNDED:
        return False
    # Where a skull is open, it is as far away as beside the opening.
    edge = np.where(found, hit.argmax(1), np.median(hit.argmax(1)[found]))
    within = inside & (np.arange(len(radii)) < edge[:, None] - 2)
    values = plane[tuple(index)][within]
    tissue = (values > TISSUE_HU[0]) & (values < TISSUE_HU[1])
    return bool(len(values)) and float(tissue.mean()) >= FILLED
