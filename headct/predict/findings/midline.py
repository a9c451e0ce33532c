"""Midline shift: how far the middle of the brain lies from the middle of the skull.

The skull's middle is the symmetry plane. The brain's is, at every level, the line from front to back about
which the tissue near it is most symmetric; it may bend, but starts and ends at the skull's middle, where the
falx holds it. The line is found by dynamic programming, and the shift is its largest distance from the plane
among the levels of the lateral and third ventricles. Blood is left out of the comparison. What this is worth
was measured on synthetic heads whose shift is known: see docs/predict.md.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, uniform_filter

from headct.predict.results import Midline

__all__ = ["HeadAxes", "head_axes", "midline_line", "midline_shift"]

REACH_MM = 20  # largest shift that is looked for
SIDE_MM = 30  # tissue that is compared on either side of the line
FRONT_MM = (-64, 64)  # the line, from back to front, about the brain's middle
LEVELS_MM = (-6, 30)  # third and lateral ventricles
SEARCHED_MM = (-24, 44)  # part of the line where the shift is read off: between the ends that the falx holds
STEP_MM = 2  # along the line; across it 1 mm, and 3 mm between levels
LEVEL_MM = 3
WINDOW_HU = (0.0, 45.0)  # fluid to brain; blood is no brighter than brain
BEND = 0.8  # cost of 1 mm sideways in a step, in units of the typical difference between the sides
FROM_MM = 2.0  # less is called none: the accuracy of the plane and of this line


class HeadAxes:
    """Right, front and up of a head as unit vectors in world mm, and its middle on the symmetry plane."""

    def __init__(self, right: np.ndarray, offset: float, middle: np.ndarray) -> None:
        self.right = right
        up = np.array([0.0, 0.0, 1.0]) - right[2] * right
        self.up = up / np.linalg.norm(up)
        self.front = np.cross(self.up, right)
        self.middle = middle + (offset - middle @ right) * right

    def world(self, right: np.ndarray, front: np.ndarray, up: np.ndarray) -> np.ndarray:
        """Head coordinates in mm, which broadcast, to world mm (..., 3)."""
        parts = zip((right, front, up), (self.right, self.front, self.up), strict=True)
        return sum(c[..., None] * axis for c, axis in parts) + self.middle


def head_axes(brain: np.ndarray, affine: np.ndarray, plane: tuple[np.ndarray, float]) -> HeadAxes:
    """The axes of a head from its brain mask (X, Y, Z) and the plane's normal and offset."""
    middle = np.array([float((brain.sum(o) * np.arange(brain.shape[a])).sum()) for a, o in _OTHERS])
    middle = affine[:3, :3] @ (middle / brain.sum()) + affine[:3, 3]
    return HeadAxes(np.asarray(plane[0]), plane[1], middle)


_OTHERS = ((0, (1, 2)), (1, (0, 2)), (2, (0, 1)))


def midline_shift(
    hu: np.ndarray,
    blood: np.ndarray,
    brain: np.ndarray,
    affine: np.ndarray,
    plane: tuple[np.ndarray, float] | None,
    score: float | None = None,
    low_score: float = 0.7,
) -> Midline:
    """Estimate the shift of one head.

    Args:
        hu, blood, brain: the scan and masks, (X, Y, Z), RAS.
        affine: voxel to world (RAS+ mm).
        plane: of symmetry: unit normal to the patient's right, and offset in mm; None if there is none.
        score: of the plane; below `low_score` no shift is given.
    """
    if plane is None:
        return Midline(reason="not estimated: no symmetry plane was found")
    if score is not None and score < low_score:
        return Midline(reason=f"not estimated: the symmetry plane is doubtful (score {score:.2f})")
    line, known = midline_line(hu, blood, brain, affine, plane)
    if line is None:
        return Midline(reason="not estimated: the scan does not cover the levels of the ventricles")
    front = np.arange(FRONT_MM[0], FRONT_MM[1] + 1, STEP_MM)
    part = line[:, (front >= SEARCHED_MM[0]) & (front <= SEARCHED_MM[1])]
    if known < 0.5:
        return Midline(reason="not estimated: blood or missing tissue covers most of the middle")
    place = np.unravel_index(np.abs(part).argmax(), part.shape)
    shift = float(part[place])
    if abs(shift) < FROM_MM:
        return Midline(abs(shift), None)
    return Midline(abs(shift), "right" if shift > 0 else "left")


def midline_line(
    hu: np.ndarray,
    blood: np.ndarray,
    brain: np.ndarray,
    affine: np.ndarray,
    plane: tuple[np.ndarray, float],
) -> tuple[np.ndarray | None, float]:
    """Where the brain's middle runs: mm to the patient's right of the plane.

    Returns:
        (levels, points from back to front), levels from below every 3 mm; None where the scan does not reach.
        And the share of what was to be compared that is neither blood nor outside the brain.
    """
    axes = head_axes(brain, affine, plane)
    wide = REACH_MM + SIDE_MM
    right = np.arange(-wide, wide + 1, dtype=float)
    front = np.arange(FRONT_MM[0], FRONT_MM[1] + 1, STEP_MM, dtype=float)
    up = np.arange(LEVELS_MM[0], LEVELS_MM[1] + 1, LEVEL_MM, dtype=float)
    world = axes.world(right[None, None, :], front[None, :, None], up[:, None, None])
    index = np.moveaxis((world - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T, -1, 0)
    if index[2].min() < -0.5 or index[2].max() > hu.shape[2] - 0.5:
        return None, 0.0
    # nothing else of the head is looked at
    low = [int(np.clip(np.floor(axis.min()) - 1, 0, n - 1)) for axis, n in zip(index, hu.shape, strict=True)]
    high = [max(int(np.ceil(axis.max())) + 2, start + 1) for axis, start in zip(index, low, strict=True)]
    box = tuple(map(slice, low, high))
    index = index - np.array(low).reshape(3, 1, 1, 1)
    hu, tissue = hu[box], brain[box] & ~blood[box]
    image = map_coordinates(np.clip(hu, *WINDOW_HU), index, order=1, mode="nearest")
    used = map_coordinates(tissue.astype(np.float32), index, order=1, mode="constant") > 0.5
    weight = gaussian_filter(used.astype(np.float32), (0.7, 0.5, 1.0))
    image = gaussian_filter(np.where(used, image, 0), (0.7, 0.5, 1.0)) / np.maximum(weight, 1e-3)
    cost, share = _asymmetry(image, used)
    typical = float(np.median(cost)) or 1.0
    return np.stack([_best_line(level / typical) for level in cost]) * 1.0, share


def _asymmetry(image: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean difference of the two sides about every position: (levels, points, positions), HU."""
    middle = image.shape[2] // 2
    positions = np.arange(-REACH_MM, REACH_MM + 1)
    cost = np.empty((*image.shape[:2], len(positions)), np.float32)
    pairs = np.empty_like(cost)
    reach = np.arange(1, SIDE_MM + 1)
    for i, position in enumerate(positions):
        a, b = (np.s_[:, :, middle + position + sign * reach] for sign in (1, -1))
        both = used[a] & used[b]
        cost[:, :, i] = (np.abs(image[a] - image[b]) * both).sum(-1)
        pairs[:, :, i] = both.sum(-1)
    # neighbours along the line and across the levels have nearly the same middle
    cost, pairs = (uniform_filter(x, (7, 5, 1), mode="nearest") for x in (cost, pairs))
    known = pairs > SIDE_MM / 3
    mean = cost / np.maximum(pairs, 1)
    neutral = float(np.median(mean[known])) if known.any() else 0.0
    return np.where(known, mean, neutral), float(known.mean())


def _best_line(cost: np.ndarray) -> np.ndarray:
    """The cheapest line through (points, positions) that begins and ends at position 0, in mm."""
    count, width = cost.shape
    middle = width // 2
    moves = np.arange(-2, 3)
    total = np.full((count, width), np.inf)
    total[0, middle] = 0.0
    origin = np.zeros((count, width), int)
    for i in range(1, count):
        options = np.full((len(moves), width), np.inf)
        for k, move in enumerate(moves):
            source = np.arange(width) - move
            valid = (source >= 0) & (source < width)
            options[k, valid] = total[i - 1, source[valid]] + BEND * abs(move)
        best = options.argmin(0)
        total[i] = options[best, np.arange(width)] + cost[i]
        origin[i] = np.arange(width) - moves[best]
    line = np.empty(count, int)
    line[-1] = middle
    for i in range(count - 1, 0, -1):
        line[i - 1] = origin[i, line[i]]
    return line - middle
