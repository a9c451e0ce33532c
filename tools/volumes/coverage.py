"""Whether the scan shows all of the brain: from base to vertex, and to all sides."""

from __future__ import annotations

import numpy as np

__all__ = ["coarse", "coverage_doubts"]

COARSE_MM = 2.0  # finer detail does not matter here
COVERED_MM = 100.0  # a brain is about 120 mm high
CUT_CM2 = 15.0  # of brain on the last slice: the vertex is outside
SIDE_CM2 = 3.0  # of brain at a side of the field of view
PADDING_HU = -1024.0  # outside a round field of view, see `tools.volumes.read`
TISSUE_HU = -200.0
EDGE_MM = 3.0  # from the field's edge; skull and scalp together are thicker
SIDES = (("on the left", "on the right"), ("at the back", "in front"))


def coverage_doubts(hu: np.ndarray, brain: np.ndarray, spacing: np.ndarray) -> list[str]:
    """Sentences on what of the brain lies outside the scan.

    Args:
        hu: (X, Y, Z), RAS, nowhere below -1024.
        brain: mask of the same shape, not empty.
        spacing: voxel edge lengths in mm.
    """
    hu, brain, spacing = coarse(hu, brain, spacing)
    area = brain.sum((0, 1)) * float(spacing[0] * spacing[1]) / 100
    slices = np.flatnonzero(area > 0)
    texts = []
    height = (slices[-1] - slices[0] + 1) * float(spacing[2])
    if height < COVERED_MM:
        texts.append(f"Only a slab of {height:.0f} mm shows brain: bleeding outside it cannot be seen.")
    if area[-1] > CUT_CM2:
        texts.append(f"The top of the brain is not in the scan ({area[-1]:.0f} cm2 on the last slice).")
    if area[0] > area.max() / 2:
        texts.append(f"The base of the brain is not in the scan ({area[0]:.0f} cm2 on the first slice).")
    cut = [
        f"{SIDES[axis][end]} ({cm2:.0f} cm2)"
        for axis in (0, 1)
        for end in (0, 1)
        if (cm2 := _cut_cm2(hu, brain, spacing, axis, end)) > SIDE_CM2
    ]
    if cut:
        texts.append(
            f"The field of view cuts the brain {', '.join(cut)}: bleeding beyond it cannot be seen, and what "
            "is found there is too small."
        )
    return texts


def coarse(
    hu: np.ndarray, brain: np.ndarray, spacing: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every so many voxels of a scan and its mask, that lie about 2 mm apart; and their distances in mm."""
    steps = [max(1, round(COARSE_MM / float(mm))) for mm in spacing]
    some = tuple(slice(None, None, n) for n in steps)
    return hu[some], brain[some], np.asarray(spacing) * steps


def _cut_cm2(hu: np.ndarray, brain: np.ndarray, spacing: np.ndarray, axis: int, end: int) -> float:
    """cm2 of brain at one side, where the field of view begins: after the padding of each row of voxels."""
    levels = np.flatnonzero(brain.any((0, 1)))
    hu, brain = (np.moveaxis(part[:, :, levels], axis, 0) for part in (hu, brain))
    if end:
        hu, brain = hu[::-1], brain[::-1]
    first = (hu > PADDING_HU).argmax(0)
    deeper = np.minimum(first + max(1, round(EDGE_MM / float(spacing[axis]))), len(hu) - 1)
    at_edge = np.take_along_axis(hu, first[None], 0)[0] > TISSUE_HU
    near = np.take_along_axis(brain, deeper[None], 0)[0]
    return float((at_edge & near).sum()) * float(spacing[1 - axis] * spacing[2]) / 100
