"""Whether every slice stands on the level of its neighbours: a wrong rescale lifts a whole slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["describe_odd", "level_doubts", "odd_slices"]

JUMP_HU = 300.0  # between neighbouring slices; those of a head differ by less than 100 as a whole
TISSUE_HU = -200.0
LARGE = 0.2  # share of a slice that is tissue in both neighbours, where tissue is compared alone
COARSE_MM = 4.0


def odd_slices(
    volume: np.ndarray, spacing: Sequence[float], tissue_too: bool = False
) -> list[tuple[int, float]]:
    """Slices whose values as a whole are far from those of most; low ones at the ends may be air.

    Args:
        volume: (X, Y, Z) HU, slices along Z.
        spacing: mm of a voxel along each axis.
        tissue_too: compare tissue alone as well, for slices that are rescaled each in its own way. Not asked
            for otherwise, since bone follows brain where a skull closes.

    Returns:
        number of each from 0, and by how many HU it is off.
    """
    every = [max(1, int(COARSE_MM / float(mm))) for mm in spacing[:2]]
    slices = np.moveaxis(volume, 2, 0)[:, :: every[0], :: every[1]].astype(np.float32)
    level = np.zeros(len(slices))
    for k in range(1, len(slices)):
        level[k] = level[k - 1] + _step(slices[k - 1], slices[k], tissue_too)
    off = level - np.median(level)
    for order in (range(len(off)), range(len(off) - 1, -1, -1)):
        for k in order:  # where a narrow field of view leaves the head, air follows tissue
            if off[k] > -JUMP_HU:
                break
            off[k] = 0
    if tissue_too:
        off = np.where(np.abs(off) > JUMP_HU, off, _lost_tissue(slices))
    return [(k, float(hu)) for k, hu in enumerate(off) if abs(hu) > JUMP_HU]


def describe_odd(odd: Sequence[tuple[int, float]], count: int) -> str:
    """How many of `count` slices `odd_slices` found, and which is the first."""
    number, off = odd[0]
    return (
        f"{len(odd)} of {count} slices at {off:+.0f} HU beside the others (the first is number {number + 1})"
    )


def level_doubts(volume: np.ndarray, spacing: Sequence[float]) -> list[str]:
    """A sentence on the slices that `odd_slices` finds."""
    odd = odd_slices(volume, spacing)
    if not odd:
        return []
    found = describe_odd(odd, volume.shape[-1])
    return [f"Values do not go on from slice to slice: {found}. They may be wrong, or empty."]


def _lost_tissue(slices: np.ndarray) -> np.ndarray:
    """HU by which slices without tissue lie below one with it, where tissue is above and below them."""
    share = (slices > TISSUE_HU).mean((1, 2))
    off = np.zeros(len(slices))
    for k in range(1, len(slices) - 1):
        around = min(share[:k].max(), share[k + 1 :].max())
        if around > LARGE and share[k] < 0.3 * around:
            good = slices[int(share[:k].argmax())]
            off[k] = np.median((slices[k] - good)[good > TISSUE_HU])
    return off


def _step(one: np.ndarray, other: np.ndarray, tissue_too: bool) -> float:
    """HU by which one slice lies above another as a whole; 0 for what heads do."""
    step = float(np.median(other - one))
    both = (one > TISSUE_HU) & (other > TISSUE_HU)
    if tissue_too and both.mean() > LARGE and abs(step) <= JUMP_HU / 2:
        step = float(np.median((other - one)[both]))
    return step if abs(step) > JUMP_HU / 2 else 0.0
