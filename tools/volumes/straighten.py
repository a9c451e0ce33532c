"""Slices that lean or lie unevenly -> a straight, even volume, by where each slice says it is.

A tilted gantry leans every slice while the table moves on: stacked, they make a sheared volume. Some
protocols also take closer slices at the skull base. dcm2niix corrects both, but (version 1.0.20260724) gives
the result an origin centimetres off for gantries that tilt one of the two ways, and leaves unsigned images as
they are.
"""

from __future__ import annotations

import numpy as np

SHIFT = 0.5  # voxels that the stack may lean from its first to its last slice
UNEVEN = 0.02  # of the median distance
MOST = 2  # times as many slices as there were


def is_straight(affine: np.ndarray, positions: np.ndarray) -> bool:
    """Whether slices at these positions are a volume already; arguments as for `straighten`."""
    if len(positions) < 2:
        return True
    across, along, up = _offsets(affine, positions)
    steps = np.diff(up)
    leaning = max(np.ptp(across), np.ptp(along)) > SHIFT
    return bool(not leaning and np.ptp(steps) <= max(UNEVEN * float(np.median(steps)), 0.01))


def straighten(
    slices: np.ndarray, affine: np.ndarray, positions: np.ndarray, fill: float = -1024
) -> tuple[np.ndarray, np.ndarray]:
    """Resample a stack of parallel slices to a straight volume with even distances.

    In the slices' plane values move by whole voxels and the linearly interpolated rest; between slices they
    are interpolated linearly. The distance of the new slices is that of the closer ones (a quarter of all
    steps is at most as large), but there are at most twice as many slices as before.

    Args:
        slices: (X, Y, N), in the order of their positions.
        affine: voxel to world mm (4, 4); its first two columns hold for all slices.
        positions: world mm of voxel (0, 0) of every slice, (N, 3).
        fill: value where there was no slice.

    Returns:
        the volume (X', Y', N') of the same dtype, whose first two axes grow by as much as the stack leans,
        and its affine with perpendicular columns.
    """
    across, along, up = _offsets(affine, positions)
    steps = np.diff(up)
    wanted = round(up[-1] / float(np.percentile(steps, 25, method="higher"))) + 1
    count = int(np.clip(wanted, 2, MOST * len(up)))
    distance = up[-1] / (count - 1)
    low = np.floor([across.min(), along.min()]).astype(int)
    grown = np.ceil([across.max(), along.max()]).astype(int) - low
    shape = (slices.shape[0] + grown[0], slices.shape[1] + grown[1])

    def placed(k: int) -> np.ndarray:
        plane = slices[:, :, k].astype(np.float32)
        for axis, offset in enumerate((across[k] - low[0], along[k] - low[1])):
            plane = _moved(plane, axis, offset, shape[axis], fill)
        return plane

    volume = np.empty((*shape, count), slices.dtype)
    for m in range(count):
        height = m * distance
        k = int(np.clip(np.searchsorted(up, height, side="right") - 1, 0, len(up) - 2))
        weight = float(np.clip((height - up[k]) / (up[k + 1] - up[k]), 0, 1))
        plane = placed(k) if weight < 1 else placed(k + 1)
        if 0 < weight < 1:
            plane = (1 - weight) * plane + weight * placed(k + 1)
        volume[:, :, m] = plane.round() if np.issubdtype(slices.dtype, np.integer) else plane
    straight = np.eye(4)
    straight[:3, :2] = affine[:3, :2]
    straight[:3, 2] = _normal(affine, positions) * distance
    straight[:3, 3] = positions[0] + affine[:3, :2] @ low
    return volume, straight


def _normal(affine: np.ndarray, positions: np.ndarray) -> np.ndarray:
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    normal = normal / np.linalg.norm(normal)
    return normal if (positions[-1] - positions[0]) @ normal > 0 else -normal


def _offsets(affine: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every slice against the first: voxels along the two axes of the plane, and mm across it."""
    moved = positions - positions[0]
    columns = affine[:3, :2]
    across, along = (moved @ column / (column @ column) for column in columns.T)
    return across, along, moved @ _normal(affine, positions)


def _moved(plane: np.ndarray, axis: int, offset: float, size: int, fill: float) -> np.ndarray:
    """The plane moved up an axis by `offset` >= 0 voxels, that axis grown to `size`."""
    whole = int(np.floor(offset))
    part = np.float32(offset - whole)
    plane = np.moveaxis(plane, axis, 0)
    result = np.full((size + 1, plane.shape[1]), fill, np.float32)
    result[whole : whole + len(plane)] = plane
    if part > 1e-4:
        later = np.full_like(result, fill)
        later[whole + 1 : whole + 1 + len(plane)] = plane
        result = (1 - part) * result + part * later
    return np.moveaxis(result[:size], 0, axis)
