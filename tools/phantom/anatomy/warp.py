"""Moving volumes: sampling, smoothing, and smooth deformations that cannot fold.

A deformation is a stationary velocity field integrated by scaling and squaring (Arsigny et al., MICCAI 2006):
the displacement of a tiny time step is composed with itself until the time is 1. Everything is (X, Y, Z) with
displacements (3, X, Y, Z) in mm along the axes of the grid.

Convention: `pull` of a volume by a displacement u gives out(p) = volume(p + u(p)).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F


def gaussian(volume: torch.Tensor, sigma: float | Sequence[float]) -> torch.Tensor:
    """Gaussian blur of (X, Y, Z) float32, sigma in voxels (one for all axes, or three)."""
    widths = (sigma,) * 3 if isinstance(sigma, int | float) else tuple(sigma)
    out = volume[None, None]
    for axis, width in enumerate(widths):
        if width < 0.1:
            continue
        reach = max(1, int(np.ceil(2.7 * width)))
        t = torch.arange(-reach, reach + 1, dtype=torch.float32, device=volume.device)
        weight = torch.exp(-0.5 * (t / width) ** 2)
        # One axis at a time, as additions of shifted copies: faster than conv3d on a CPU.
        weight = (weight / weight.sum()).tolist()
        n = out.shape[2 + axis]
        pad = [0, 0, 0, 0, 0, 0]
        pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = reach
        padded = F.pad(out, pad, mode="replicate")
        blurred = padded.narrow(2 + axis, reach, n) * weight[reach]
        for k in range(reach):
            both = padded.narrow(2 + axis, k, n) + padded.narrow(2 + axis, 2 * reach - k, n)
            blurred.add_(both, alpha=weight[k])
        out = blurred
    return out[0, 0]


def sample(
    volume: torch.Tensor, index: torch.Tensor, mode: str = "bilinear", outside: float = 0.0
) -> torch.Tensor:
    """Values of a volume at fractional voxel indices.

    Args:
        volume: (X, Y, Z) float32.
        index: (..., 3), voxel indices along X, Y, Z.
        mode: `bilinear` (trilinear) or `nearest`.
        outside: value beyond the grid.

    Returns:
        (...) float32.
    """
    size = torch.tensor(volume.shape, dtype=torch.float32, device=volume.device)
    grid = ((2 * index + 1) / size - 1).flip(-1).reshape(1, 1, 1, -1, 3)
    threads = torch.get_num_threads() if volume.device.type == "cpu" else 1
    # torch's CPU kernel runs in parallel over the batch only, so the points are dealt out to a batch.
    count = grid.shape[3]
    padded = -(-count // threads) * threads
    grid = F.pad(grid, (0, 0, 0, padded - count)).view(threads, 1, 1, padded // threads, 3)
    values = (volume - outside)[None, None].expand(threads, 1, *volume.shape)
    out = F.grid_sample(values, grid, mode=mode, padding_mode="zeros", align_corners=False)
    return out.reshape(-1)[:count].view(index.shape[:-1]) + outside


def identity(shape: Sequence[int], device: torch.device | str = "cpu") -> torch.Tensor:
    """Voxel indices (X, Y, Z, 3) float32."""
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def resize(volume: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Trilinear resampling of (C, X, Y, Z) whose outermost samples stay in their places."""
    return F.interpolate(volume[None], size=tuple(shape), mode="trilinear", align_corners=True)[0]


def compose(first: torch.Tensor, second: torch.Tensor, spacing: float = 1.0) -> torch.Tensor:
    """Displacement (3, X, Y, Z) of p -> q + second(q) with q = p + first(p)."""
    index = identity(first.shape[1:], first.device) + first.movedim(0, -1) / spacing
    size = torch.tensor(first.shape[1:], dtype=torch.float32, device=first.device)
    grid = ((2 * index + 1) / size - 1).flip(-1)
    moved = F.grid_sample(second[None], grid[None], padding_mode="border", align_corners=False)
    return first + moved[0]


def integrate(velocity: torch.Tensor, spacing: float = 1.0, steps: int = 6) -> torch.Tensor:
    """Displacement (3, X, Y, Z) in mm after time 1 of a stationary velocity field in mm (2**steps steps)."""
    displacement = velocity / 2**steps
    for _ in range(steps):
        displacement = compose(displacement, displacement, spacing)
    return displacement


def jacobian(displacement: torch.Tensor, spacing: float = 1.0) -> torch.Tensor:
    """Determinant (X, Y, Z) of the Jacobian of p + u(p), central differences; positive unless folded."""
    rows = [torch.stack(torch.gradient(u, spacing=spacing)) for u in displacement]
    matrix = torch.stack(rows) + torch.eye(3, device=displacement.device)[:, :, None, None, None]
    return torch.linalg.det(matrix.movedim((0, 1), (-2, -1)))


def pull(
    volume: torch.Tensor, displacement: torch.Tensor, mode: str = "bilinear", outside: float = 0.0
) -> torch.Tensor:
    """volume(p + u(p)) on a grid of 1 mm: float by `bilinear`, any kind of number by `nearest`."""
    if mode == "nearest":
        index = identity(volume.shape, volume.device) + displacement.movedim(0, -1)
        return take(volume, index, int(outside))
    return sample(volume, identity(volume.shape, volume.device) + displacement.movedim(0, -1), mode, outside)


def take(volume: torch.Tensor, index: torch.Tensor, outside: int = 0) -> torch.Tensor:
    """Nearest values of a volume of any dtype at fractional voxel indices (..., 3)."""
    nx, ny, nz = volume.shape
    whole = index.round().to(torch.int32)
    x, y, z = whole.unbind(-1)
    inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny) & (z >= 0) & (z < nz)
    flat = (x.clamp(0, nx - 1) * ny + y.clamp(0, ny - 1)) * nz + z.clamp(0, nz - 1)
    values = volume.reshape(-1)[flat.long()]
    return torch.where(inside, values, torch.as_tensor(outside, dtype=volume.dtype, device=volume.device))
