"""Parallel projections of slices on a coarse grid, cheap enough to be taken for every slice of every case.

Coarse is enough: errors of a hardened beam and the level of noise change over centimetres. One sparse matrix
holds all rays; pixels are shared between the two nearest rays.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

#: Pixels along the side of the coarse grid, and views over 180 degrees.
SIDE, VIEWS = 64, 72


def rays(side: int = SIDE) -> int:
    """Rays of one view: they cover the grid's diagonal."""
    return int(np.ceil(side * 2**0.5)) + 3


def view_angles(views: int = VIEWS) -> np.ndarray:
    """Angle of each view in radians: the direction along the detector, from the first axis to the second."""
    return np.pi * (np.arange(views) + 0.5) / views


@lru_cache(maxsize=4)
def _system(side: int, views: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Sparse (views * rays, side²) matrix of projection, and its transpose."""
    centre = np.arange(side) - (side - 1) / 2
    x, y = (c.ravel() for c in np.meshgrid(centre, centre, indexing="ij"))
    count, pixels = rays(side), np.arange(side * side)
    rows, columns, weights = [], [], []
    for view, angle in enumerate(view_angles(views)):
        place = x * np.cos(angle) + y * np.sin(angle) + (count - 1) / 2
        low = np.floor(place).astype(np.int64)
        for step, weight in ((0, 1 - place + low), (1, place - low)):
            rows.append(view * count + low + step)
            columns.append(pixels)
            weights.append(weight)
    index = np.stack([np.concatenate(rows), np.concatenate(columns)])
    values = torch.as_tensor(np.concatenate(weights), dtype=torch.float32)
    matrix = torch.sparse_coo_tensor(
        torch.as_tensor(index), values, (views * count, side * side), check_invariants=False
    )
    return matrix.coalesce().to(device), matrix.t().coalesce().to(device)


def pool(volume: torch.Tensor, side: int = SIDE) -> torch.Tensor:
    """Slices of (X, Y, Z) averaged onto the coarse grid, one a column: (side², Z)."""
    coarse = F.interpolate(volume.permute(2, 0, 1)[:, None], size=(side, side), mode="area")
    return coarse.reshape(volume.shape[2], -1).T.contiguous()


def spread(coarse: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Columns (side², Z) as slices (X, Y, Z) of the fine grid, linear between coarse pixels."""
    side = round(coarse.shape[0] ** 0.5)
    planes = coarse.T.reshape(-1, 1, side, side)
    fine = F.interpolate(planes, size=shape, mode="bilinear", align_corners=False)
    return fine[:, 0].permute(1, 2, 0)


def project(coarse: torch.Tensor, pixel: float, views: int = VIEWS) -> torch.Tensor:
    """Line integrals (views, rays, Z) of columns (side², Z) whose pixels measure `pixel`."""
    side = round(coarse.shape[0] ** 0.5)
    matrix, _ = _system(side, views, str(coarse.device))
    return torch.sparse.mm(matrix, coarse).view(views, rays(side), -1) * pixel


def back_project(sinogram: torch.Tensor, side: int = SIDE) -> torch.Tensor:
    """Mean over the views (views, rays, Z) of the ray through each pixel: (side², Z)."""
    views = sinogram.shape[0]
    _, matrix = _system(side, views, str(sinogram.device))
    return torch.sparse.mm(matrix, sinogram.reshape(-1, sinogram.shape[2])) / views


def filtered_back_projection(sinogram: torch.Tensor, pixel: float, side: int = SIDE) -> torch.Tensor:
    """Slices (side², Z) whose line integrals are the sinogram; Ramachandran-Lakshminarayanan filter."""
    count = sinogram.shape[1]
    n = torch.arange(-count + 1, count, dtype=torch.float64)
    ramp = torch.where(n == 0, 0.25, torch.where(n % 2 != 0, -1 / (np.pi * n.where(n != 0, 1)) ** 2, 0.0))
    length = 1 << (3 * count - 1).bit_length()
    gain = torch.fft.rfft(ramp, length).to(torch.complex64).to(sinogram.device)
    filtered = torch.fft.irfft(torch.fft.rfft(sinogram, length, dim=1) * gain[:, None], length, dim=1)
    return back_project(filtered[:, count - 1 : 2 * count - 1], side) * (np.pi / pixel)
