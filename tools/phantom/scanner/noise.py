"""Quantum noise with the spectrum of a kernel, whose level and direction change from place to place.

The variance of a ray grows with exp(its path); a pixel's noise is the mean over the views. A view adds only
waves along its detector, so where one direction crosses much bone the noise turns into streaks along it.
"""

from __future__ import annotations

import numpy as np
import torch

from tools.phantom.scanner.kernels import Kernel
from tools.phantom.scanner.projections import SIDE, VIEWS, back_project, spread

#: 1/cm, water at the mean energy of a 120 kV beam; the measured slope of log variance over path confirms it.
WATER_PER_CM = 0.19

#: Mean of exp(path) in the middle of a head, where `level` is the standard deviation.
REFERENCE = 35.0

#: Directions that are told apart.
SECTORS = 6


def frequencies(shape: tuple[int, int], spacing: tuple[float, float], device: torch.device | str):
    """Frequencies in 1/mm of a half-complex transform: along each axis (X, 1) and (1, Y // 2 + 1)."""
    fx = torch.fft.fftfreq(shape[0], spacing[0], device=device)[:, None]
    fy = torch.fft.rfftfreq(shape[1], spacing[1], device=device)[None]
    return fx, fy


def sector_weights(fx: torch.Tensor, fy: torch.Tensor, sectors: int = SECTORS) -> torch.Tensor:
    """(sectors, X, Y // 2 + 1) weights that sum to 1, by the direction of a frequency."""
    angle = torch.atan2(fy.expand(fx.shape[0], -1), fx.expand(-1, fy.shape[1]))
    centre = (torch.arange(sectors, device=fx.device) + 0.5) * np.pi / sectors
    apart = (angle - centre[:, None, None] + np.pi / 2) % np.pi - np.pi / 2
    return torch.cos((apart * sectors / 2).clamp(-np.pi / 2, np.pi / 2)).square()


def ray_variance(
    water: torch.Tensor, bone: torch.Tensor, modulation: float = 0.0, sectors: int = SECTORS
) -> torch.Tensor:
    """Variance (sectors, side², Z) of the noise in each direction; 1 in the middle of an average head.

    Args:
        water, bone: line integrals (views, rays, Z) in cm.
        modulation: 0, every slice gets the same current; 1, each as much as it needs for even noise.
        sectors: number of directions.
    """
    variance = torch.exp((WATER_PER_CM * (water + bone)).clamp_max(9.0)) / REFERENCE
    # Rays through the middle of the slice stand for its need.
    middle = variance.shape[1] // 2
    need = variance[:, middle - 4 : middle + 5].mean((0, 1))
    variance = variance / need**modulation
    sums = []
    for first in range(sectors):
        views = slice(first * VIEWS // sectors, (first + 1) * VIEWS // sectors)
        part = torch.zeros_like(variance)
        part[views] = variance[views]
        sums.append(back_project(part, SIDE) * sectors)
    return torch.stack(sums)


def quantum_noise(
    white: torch.Tensor, variance: torch.Tensor | None, spacing: tuple[float, float], kernel: Kernel
) -> torch.Tensor:
    """Noise (X, Y, Z) of unit variance where `variance` is 1.

    Args:
        white: standard normal numbers (Z, X, Y).
        variance: (sectors, side², Z) of `ray_variance`; None makes it the same everywhere.
        spacing: pixel size in mm.
        kernel: gives the spectrum.
    """
    shape = (white.shape[1], white.shape[2])
    fx, fy = frequencies(shape, spacing, white.device)
    power = kernel.noise_power((fx**2 + fy**2).sqrt())
    twice = torch.full_like(fy, 2.0)  # all but the first and last column stand for two frequencies
    twice[0, 0] = 1.0
    if shape[1] % 2 == 0:
        twice[0, -1] = 1.0
    amplitude = (power / ((power * twice).sum() / (shape[0] * shape[1]))).sqrt()
    waves = torch.fft.rfft2(white) * amplitude
    if variance is None:
        return torch.fft.irfft2(waves, s=shape).permute(1, 2, 0)
    out = torch.zeros(*shape, white.shape[0], device=white.device)
    for weight, level in zip(sector_weights(fx, fy, len(variance)), variance, strict=True):
        part = torch.fft.irfft2(waves * weight, s=shape).permute(1, 2, 0)
        out += part * spread(level, shape).clamp_min(0).sqrt()
    return out
