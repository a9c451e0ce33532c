"""Reconstruction kernels: what one does to detail and to noise, over spatial frequency.

Filtered back-projection turns white noise of the detector into noise of power f K(f)^2, and sharp detail into
detail K(f), where K is the kernel and f the spatial frequency in 1/mm. One function therefore gives both.
The numbers below were measured on real scans by `benchmarks/measure_scanner.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Kernel:
    """K(f) = (1 + (f / knee)^2)^(boost / 2) exp(-(f / cutoff)^order / 2)."""

    cutoff: float  # 1/mm
    order: float
    boost: float = 0.0  # how steeply a sharp kernel lifts what lies above the knee
    knee: float = 0.15  # 1/mm

    def __call__(self, frequency: torch.Tensor) -> torch.Tensor:
        """Gain of detail at a frequency in 1/mm; 1 at 0."""
        lift = (1 + (frequency / self.knee) ** 2) ** (self.boost / 2)
        return lift * torch.exp(-0.5 * (frequency / self.cutoff) ** self.order)

    def noise_power(self, frequency: torch.Tensor) -> torch.Tensor:
        """Noise power spectrum up to a factor."""
        return frequency * self(frequency) ** 2


#: Measured: Toshiba Aquilion FC63 and FC30 (one head, both kernels), GE HiSpeed Dual STD+.
KERNELS = {
    "toshiba_fc63": Kernel(cutoff=0.290, order=2.18),
    "toshiba_fc30": Kernel(cutoff=0.787, order=3.66, boost=0.65),
    "ge_std_plus": Kernel(cutoff=0.382, order=2.31),
}
