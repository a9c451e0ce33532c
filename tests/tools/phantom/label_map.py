"""A small head of ellipsoids as a label map in FreeSurfer's numbers, for tests."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np


def small_head(size: float = 1.0) -> np.ndarray:
    """(84, 100, 96) int16 label map, 2 mm, RAS; the middle of the head is the middle of the array.

    `size` 1 is an adult; tests that make persons take a smaller one to be fast.
    """
    shape = (84, 100, 96)
    x, y, z = (2 * (i - (n - 1) / 2) / size for i, n in zip(np.ogrid[:84, :100, :96], shape, strict=True))

    def inside(a, b, c, at=(0.0, 0.0, 0.0)):
        return ((x - at[0]) / a) ** 2 + ((y - at[1]) / b) ** 2 + ((z - at[2]) / c) ** 2 < 1

    head = np.zeros(shape, np.int16)
    left, right = x < 0, x > 0
    head[inside(80, 97, 92)] = 511
    head[inside(77, 94, 89)] = 507
    head[inside(73, 90, 85)] = 515
    head[inside(70, 87, 82) & ~inside(69, 86, 81)] = 516
    head[inside(67, 84, 79)] = 24
    cerebrum = inside(64, 81, 70, (0, 0, 6)) & (abs(x) > 2)
    head[cerebrum & left], head[cerebrum & right] = 3, 42
    folds = np.sin(0.25 * (y + z)) * np.sin(0.25 * (x + y)) > 0.75
    head[cerebrum & folds & ~inside(52, 68, 58, (0, 0, 6))] = 24
    white = inside(56, 73, 62, (0, 0, 6))
    head[white & left], head[white & right] = 2, 41
    hindbrain = inside(48, 32, 24, (0, -42, -48))
    head[hindbrain & left], head[hindbrain & right] = 8, 47
    head[inside(13, 12, 30, (0, -12, -52))] = 16
    for sign, lateral, thalamus, putamen, choroid in ((-1, 4, 10, 12, 136), (1, 43, 49, 51, 163)):
        head[inside(8, 30, 10, (sign * 14, 0, 18))] = lateral
        head[inside(3, 6, 4, (sign * 14, -20, 18))] = choroid
        head[inside(8, 12, 8, (sign * 11, -8, 2))] = thalamus
        head[inside(6, 14, 9, (sign * 25, 8, 2))] = putamen
    head[inside(3, 12, 8, (0, -6, 2))] = 14
    head[inside(5, 5, 6, (0, -26, -46))] = 15
    for sign in (-1, 1):
        head[inside(11, 11, 11, (sign * 30, 88, -46))] = 506
    return head


def write_map(path: Path, array: np.ndarray, spacing: float = 2.0) -> Path:
    """Write a label map and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([spacing] * 3 + [1.0])), path)
    return path
