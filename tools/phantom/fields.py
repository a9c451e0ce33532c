"""Smooth random fields in head coordinates, and the small algebra of signed distances.

A field is a cube of band-limited noise on a coarse grid, drawn on the CPU (so that every device sees the same
one) and sampled trilinearly wherever it is needed. Distances are in mm, negative inside.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

Points = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Lattice:
    """Channels of a field on a cube centred at the head's origin.

    Args:
        values: (C, n, n, n), axes z, y, x.
        half: half of the cube's edge in mm; points outside take the value at the border.
    """

    def __init__(self, values: torch.Tensor, half: float) -> None:
        self.values, self.half = values[None].contiguous(), half

    def __call__(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Values at 1-D points, one tensor of their length per channel."""
        count = x.numel()
        # torch's CPU kernel runs in parallel over the batch only, so the points are dealt out to a batch.
        batch = 1 if x.device.type != "cpu" or count < 4096 else torch.get_num_threads()
        padded = -(-count // batch) * batch
        grid = torch.stack((x, y, z), -1) / self.half
        grid = F.pad(grid, (0, 0, 0, padded - count)).view(batch, 1, 1, padded // batch, 3)
        values = self.values.expand(batch, *self.values.shape[1:])
        sampled = F.grid_sample(values, grid, padding_mode="border", align_corners=True)
        return sampled.transpose(0, 1).reshape(sampled.shape[1], padded)[:, :count].unbind(0)


def band_noise(wavelengths: Sequence[float], n: int, half: float, generator: torch.Generator) -> torch.Tensor:
    """Noise of unit variance around each wavelength in mm: (C, n, n, n) float32 on the CPU."""
    spacing = 2 * half / (n - 1)
    white = torch.randn((len(wavelengths), n, n, n), generator=generator)
    f = torch.fft.fftfreq(n, spacing)
    r = torch.fft.rfftfreq(n, spacing)
    frequency = (f[:, None, None] ** 2 + f[None, :, None] ** 2 + r**2).sqrt()
    center = 1 / torch.as_tensor(wavelengths, dtype=torch.float32)[:, None, None, None]
    shaped = torch.fft.rfftn(white, dim=(1, 2, 3)) * torch.exp(
        -(((frequency - center) / (0.4 * center)) ** 2)
    )
    field = torch.fft.irfftn(shaped, s=(n, n, n), dim=(1, 2, 3))
    field = field - field.mean((1, 2, 3), keepdim=True)
    return field / field.std((1, 2, 3), keepdim=True)


def mix_mirror(field: torch.Tensor, asymmetry: float, odd: Sequence[int] = ()) -> torch.Tensor:
    """Blend a field with its left-right mirror image: `asymmetry` 0 gives a mirror-symmetric field.

    Channels named in `odd` become antisymmetric instead (the x component of a symmetric displacement).
    """
    sign = torch.ones(field.shape[0], 1, 1, 1)
    sign[list(odd)] = -1
    even = (field + sign * field.flip(-1)) / 2**0.5
    other = (field - sign * field.flip(-1)) / 2**0.5
    share = 0.5**0.5 * asymmetry
    return even * (1 - share**2) ** 0.5 + other * share


def as_distance(field: torch.Tensor, spacing: float) -> torch.Tensor:
    """Approximate signed distance in mm to the zero surface of each channel."""
    steps = torch.gradient(field, spacing=spacing, dim=(1, 2, 3))
    slope = sum(step**2 for step in steps).sqrt()
    return field / slope.clamp_min(0.35 * slope.mean((1, 2, 3), keepdim=True))


def ellipsoid(
    x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, a: float, b: float, c: float
) -> torch.Tensor:
    """Distance along the ray from the centre (0, 0, 0) to an ellipsoid with half-axes a, b, c."""
    x2, y2, z2 = x * x + 1e-3, y * y, z * z
    return (x2 + y2 + z2).sqrt() * (1 - (x2 / a**2 + y2 / b**2 + z2 / c**2).rsqrt())


def capsule(
    x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, start: Sequence[float], end: Sequence[float]
) -> torch.Tensor:
    """Distance to a tapered tube between two balls (x, y, z, radius)."""
    ax, ay, az, ar = start
    bx, by, bz, br = (e - s for s, e in zip(start, end, strict=True))
    px, py, pz = x - ax, y - ay, z - az
    t = ((px * bx + py * by + pz * bz) / (bx * bx + by * by + bz * bz)).clamp(0, 1)
    return ((px - t * bx) ** 2 + (py - t * by) ** 2 + (pz - t * bz) ** 2).sqrt() - (ar + t * br)


def smin(a: torch.Tensor, b: torch.Tensor, k: float) -> torch.Tensor:
    """Union of two shapes, rounded over about k mm."""
    return torch.minimum(a, b) - (k - (a - b).abs()).clamp_min(0) ** 2 / (4 * k)


def smax(a: torch.Tensor, b: torch.Tensor, k: float) -> torch.Tensor:
    """Intersection of two shapes, rounded over about k mm."""
    return torch.maximum(a, b) + (k - (a - b).abs()).clamp_min(0) ** 2 / (4 * k)


def cover(distance: torch.Tensor, width: float) -> torch.Tensor:
    """Share of a voxel of that width in mm that lies inside: 1 deep inside, 0 outside, linear across."""
    return (0.5 - distance / width).clamp(0, 1)


def paint(hu: torch.Tensor, value: torch.Tensor | float, amount: torch.Tensor) -> torch.Tensor:
    """Replace a share of each voxel by another material."""
    return hu + (value - hu) * amount


def bump(*squared: torch.Tensor) -> torch.Tensor:
    """Gaussian hill exp(-(sum of squares)) of already scaled offsets."""
    return torch.exp(-sum(squared))
