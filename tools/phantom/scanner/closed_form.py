"""What a scanner does to a head: blur, hardened beam, noise, miscalibration, table, metal, whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from tools.core.tensors import convolve_axis
from tools.phantom.fields import cover


@dataclass(frozen=True)
class Scanner:
    """Numbers of one scan."""

    blur: float  # standard deviation of the point spread in mm
    noise: float  # HU in the middle of an average head
    cutoff: float  # 1/mm at which the kernel ends
    slope: float  # exponent of the noise's amplitude over frequency
    cupping: float
    hardening: float  # HU lost between the petrous ridges
    streaks: float
    offset: float
    gain: float
    table: float  # mm between head and table
    table_radius: float
    table_hu: float
    rest: bool  # a curved head rest instead of a flat table

    def summary(self) -> dict[str, float]:
        """The numbers a reader of the truth file may want."""
        return {name: round(float(getattr(self, name)), 4) for name in ("blur", "noise", "offset", "gain")}


def draw_scanner(rng: np.random.Generator, thickness: float) -> Scanner:
    """Draw a scanner; thinner slices are noisier."""
    return Scanner(
        blur=float(rng.uniform(0.45, 0.75)),
        noise=float(rng.uniform(3.3, 5.6) * np.clip(5.0 / thickness, 0.7, 3.0) ** 0.5),
        cutoff=float(rng.uniform(0.38, 0.6)),
        slope=float(rng.uniform(0.15, 0.5)),
        cupping=float(rng.uniform(5.0, 14.0)),
        hardening=float(rng.uniform(4.0, 16.0)),
        streaks=float(rng.uniform(1.0, 4.5)),
        offset=float(rng.normal(0, 1.0)),
        gain=float(rng.normal(1, 0.004)),
        table=float(rng.uniform(7, 22)),
        table_radius=float(rng.uniform(105, 180)),
        table_hu=float(rng.uniform(-150, 350)),
        rest=bool(rng.random() < 0.7),
    )


def blur_slices(volume: torch.Tensor, sigma: tuple[float, float]) -> torch.Tensor:
    """Gaussian blur of (X, Y, Z) along X and Y, sigma in voxels."""
    for axis, width in enumerate(sigma):
        if width < 0.15:
            continue
        reach = max(1, int(np.ceil(3 * width)))
        weight = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width) ** 2)
        volume = convolve_axis(volume, (weight / weight.sum()).tolist(), axis)
    return volume


def noise_field(white: torch.Tensor, spacing: tuple[float, float], scanner: Scanner) -> torch.Tensor:
    """Noise of unit variance with the spectrum of a soft-tissue kernel from white noise (Z, X, Y)."""
    x, y = white.shape[1:]
    fx = torch.fft.fftfreq(x, spacing[0], device=white.device)
    fy = torch.fft.rfftfreq(y, spacing[1], device=white.device)
    frequency = (fx[:, None] ** 2 + fy**2).sqrt()
    shape = (frequency + 0.01) ** scanner.slope * torch.exp(-((frequency / scanner.cutoff) ** 2))
    # Parseval: the filter's mean square is the variance of filtered white noise.
    weight = torch.full_like(fy, 2.0)
    weight[0] = 1.0
    if y % 2 == 0:
        weight[-1] = 1.0
    power = (shape**2 * weight).sum() / (x * y)
    return torch.fft.irfft2(torch.fft.rfft2(white) * (shape / power.sqrt()), s=(x, y))


def table_share(
    points: tuple[torch.Tensor, torch.Tensor, torch.Tensor], back: float, scanner: Scanner, h: float
):
    """Share of each point of a slice (world mm) that is table; `back` is the head's rearmost y."""
    x, y, _ = points
    radius = scanner.table_radius
    low = back - scanner.table
    arc = ((x * x + (y - low - radius) ** 2).sqrt() - radius).abs() - 1.6
    edge = y - (low + (0.42 if scanner.rest else 0.12) * radius)
    return cover(torch.maximum(arc, edge), h)


def metal_streaks(
    x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, spacing: tuple[float, ...]
) -> torch.Tensor:
    """HU of a clip of a few mm and its star of streaks; x, y, z are mm from it, slices across z."""
    r = (x * x + y * y + 1.0).sqrt()
    angle = torch.atan2(y, x)
    rays = torch.cos(9 * angle) * torch.cos(4 * angle + 1) + 0.6 * torch.cos(13 * angle + 2)
    slab = torch.exp(-((z / max(2.0, 0.6 * spacing[2])) ** 2))
    star = 130 * rays * torch.exp(-r / 16) + 20 * rays * torch.exp(-r / 50)
    return (star + 2200 * torch.exp(-((r / 2.0) ** 2))) * slab


def acquire(
    hu: torch.Tensor, depth: torch.Tensor, band: torch.Tensor, scanner: Scanner,
    spacing: tuple[float, float, float], white: torch.Tensor, lines: torch.Tensor, noise: bool,
) -> torch.Tensor:  # fmt: skip
    """Scan a volume of exact HU.

    Args:
        hu: (X, Y, Z) mean HU of each voxel.
        depth: mm below the inner table, negative outside.
        band: weight of the region between the petrous ridges, 0 to 1.
        white, lines: standard normal noise (Z, X, Y) and (Z, 1, Y).
        noise: whether to add noise and artefacts.

    Returns:
        (X, Y, Z) whole numbers from -1024 to 3071.
    """
    hu = blur_slices(hu, (scanner.blur / spacing[0], scanner.blur / spacing[1]))
    if noise:
        # The more bone around a slice's brain, the harder its beam: bright rims, skull base and vertex.
        bone = (hu > 300).float().sum((0, 1)) / ((depth > 0).float().sum((0, 1)) + 50)
        cupping = scanner.cupping * (0.7 + 1.1 * (bone - 0.2).clamp(0, 1.2))
        hu = hu + cupping * torch.exp(-depth.clamp_min(0) / 10.0) * (depth > -1)
        hu = hu - scanner.hardening * band
        # Photons that crossed more of the head, or the petrous bone, are fewer.
        level = scanner.noise * (0.55 + 0.45 * (1 - torch.exp(-(depth + 18).clamp_min(0) / 35)) + 0.7 * band)
        grain = noise_field(white, spacing[:2], scanner).permute(1, 2, 0)
        hu = hu + level * grain
        smooth = F.avg_pool1d(F.pad(lines, (3, 3), mode="replicate"), 7, 1) * 7**0.5
        hu = hu + (scanner.streaks * band) * smooth.permute(1, 2, 0)
        hu = (hu + 1000) * scanner.gain - 1000 + scanner.offset
    return hu.round().clamp(-1024, 3071)
