"""Other looks of a rendered head: paler blood, another grey scale, noise, blur, in a fraction of its time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tools.core.errors import InputError

__all__ = ["ScanVariation"]

BRAIN_HU = 33.0
"""Between grey and white matter: what blood stands out from, and what a changed grey scale leaves."""

PARTIAL = 0.6
"""Width in voxels of blood's edge in a scan."""


@dataclass(frozen=True)
class ScanVariation:
    """Random changes of a head CT and its blood, each of which happens in `share` of all cases.

    To render a head takes seconds; to change it, tenths of a second. Nothing moves: the label stays true.

    Args:
        contrast: smallest and largest factor of the difference between blood and brain; 0.4 makes blood of
            60 HU one of 44 HU.
        gain: largest relative change of all differences to brain, to either side.
        offset: largest change of all values in HU, to either side.
        field: largest change in HU that varies slowly from place to place.
        noise: largest standard deviation in HU of added noise, itself smoothed by up to 0.8 voxels.
        blur: largest standard deviation in voxels of an in-plane blur.
        share: probability of each change.

    Raises:
        InputError: a number that cannot be.

    Example:
        >>> image, label = torch.full((1, 16, 16, 4), 60.0), torch.ones(1, 16, 16, 4)
        >>> ScanVariation(share=1.0)(image, label, np.random.default_rng(0)).shape
        torch.Size([1, 16, 16, 4])
    """

    contrast: tuple[float, float] = (0.4, 1.1)
    gain: float = 0.15
    offset: float = 5.0
    field: float = 4.0
    noise: float = 4.0
    blur: float = 0.8
    share: float = 0.6

    def __post_init__(self) -> None:
        if not (len(self.contrast) == 2 and 0 < self.contrast[0] <= self.contrast[1]):
            raise InputError(
                f"contrast: expected two factors above 0, the smaller first, found {self.contrast}"
            )
        for name in ("gain", "share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected a share from 0 to 1, found {getattr(self, name)}")
        for name in ("offset", "field", "noise", "blur"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}: expected a number from 0, found {getattr(self, name)}")

    def __call__(self, image: Tensor, label: Tensor, random: np.random.Generator) -> Tensor:
        """A changed copy.

        Args:
            image: (1, X, Y, Z) HU.
            label: (1, X, Y, Z), above 0 is blood.
            random: draws whether, and how much.
        """
        slices = image.float().moveaxis(-1, 0)  # (Z, 1, X, Y)
        draws = torch.Generator().manual_seed(int(random.integers(2**62)))
        happens = random.random(5) < self.share
        if happens[0]:
            factor = random.uniform(*self.contrast)
            blood = in_plane_blur((label > 0).float().moveaxis(-1, 0).to(slices.device), PARTIAL)
            slices = slices + blood * (factor - 1) * (slices - BRAIN_HU).clamp(0, 80)
        if happens[1]:
            slices = in_plane_blur(slices, random.uniform(0, self.blur))
        if happens[2]:
            gain = 1 + random.uniform(-self.gain, self.gain)
            slices = BRAIN_HU + (slices - BRAIN_HU) * gain + random.uniform(-self.offset, self.offset)
        if happens[3]:
            coarse = torch.randn(1, 1, 4, 4, 3, generator=draws).clamp_(-2, 2) * random.uniform(
                0, self.field / 2
            )
            size = [*slices.shape[2:], len(slices)]
            slowly = F.interpolate(coarse, size, mode="trilinear", align_corners=True)
            slices = slices + slowly[0].moveaxis(-1, 0).to(slices.device)
        if happens[4]:
            noise = torch.randn(slices.shape, generator=draws).to(slices.device)
            noise = in_plane_blur(noise, random.uniform(0, 0.8))
            slices = slices + noise / noise.std() * random.uniform(0, self.noise)
        return slices.moveaxis(0, -1).contiguous()


def in_plane_blur(slices: Tensor, sigma: float) -> Tensor:
    """Slices (Z, 1, X, Y) under a Gaussian of `sigma` voxels; the border goes on outside."""
    reach = int(np.ceil(3 * sigma))
    if reach == 0:
        return slices
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights = (weights / weights.sum()).to(slices.device)
    padded = F.pad(slices, [reach] * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
