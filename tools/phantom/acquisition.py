"""From exact volumes to a scanned image: table, metal, and the scanner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tools.phantom.case import Volumes
from tools.phantom.scanner import Scanner, acquire, metal_streaks, table_share


def scan(
    volumes: Volumes,
    scanner: Scanner,
    affine: np.ndarray,
    spacing: Sequence[float],
    generator: torch.Generator,
    metal: np.ndarray | None = None,
    noise: bool = True,
) -> torch.Tensor:
    """Put the head on a table and scan it.

    Args:
        volumes: exact volumes.
        scanner: its numbers.
        affine: 4x4 voxel-to-world matrix.
        spacing: voxel size in mm.
        generator: where noise is drawn.
        metal: voxel indices of a metal clip, or None.
        noise: whether to add table, metal, noise and artefacts.

    Returns:
        (X, Y, Z) HU, whole numbers.
    """
    hu, device = volumes.hu, volumes.hu.device
    affine = torch.as_tensor(affine, dtype=torch.float32, device=device)
    nx, ny, nz = hu.shape
    i, j, k = (torch.arange(n, dtype=torch.float32, device=device) for n in (nx, ny, nz))
    if noise:
        wx = (affine[0, 0] * i + affine[0, 3])[:, None].expand(nx, ny)
        wy = (affine[1, 1] * j + affine[1, 3])[None].expand(nx, ny)
        occupied = (volumes.head.amax((0, 2)) > 0.5).to(torch.uint8).argmax()
        table = table_share((wx, wy, wx), wy[0, occupied], scanner, max(spacing[:2]))
        hu = hu + (scanner.table_hu + 1000) * (1 - volumes.head) * table[..., None]
        if metal is not None:
            axes = zip((i, j, k), metal, spacing, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True)
            offsets = [((t - float(c)) * mm).view(shape) for t, c, mm, shape in axes]
            hu = hu + metal_streaks(*offsets, spacing)
    white = torch.randn((nz, nx, ny), generator=generator).to(device)
    lines = torch.randn((nz, 1, ny), generator=generator).to(device)
    return acquire(hu, volumes.depth, volumes.band, scanner, spacing, white, lines, noise)
