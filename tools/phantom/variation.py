"""Other looks of a rendered head: paler blood, another grey scale, noise, blur, in a fraction of its time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tools.core.errors import InputError
from tools.phantom.scanner.closed_form import blur_slices

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
        volume = image[0].float()
        draws = torch.Generator().manual_seed(int(random.integers(2**62)))
        happens = random.random(5) < self.share
        if happens[0]:
            factor = random.uniform(*self.contrast)
            blood = blur_slices((label[0] > 0).float().to(volume.device), (PARTIAL, PARTIAL))
            volume = volume + blood * (factor - 1) * (volume - BRAIN_HU).clamp(0, 80)
        if happens[1]:
            volume = blur_slices(volume, (random.uniform(0, self.blur),) * 2)
        if happens[2]:
            gain = 1 + random.uniform(-self.gain, self.gain)
            volume = BRAIN_HU + (volume - BRAIN_HU) * gain + random.uniform(-self.offset, self.offset)
        if happens[3]:
            coarse = torch.randn(1, 1, 4, 4, 3, generator=draws).clamp_(-2, 2)
            coarse = (coarse * random.uniform(0, self.field / 2)).to(volume.device)
            slowly = F.interpolate(coarse, list(volume.shape), mode="trilinear", align_corners=True)
            volume = volume + slowly[0, 0]
        if happens[4]:
            x, y, z = volume.shape
            noise = torch.randn((z, x, y), generator=draws).to(volume.device).permute(1, 2, 0)
            noise = blur_slices(noise, (random.uniform(0, 0.8),) * 2)
            volume = volume + noise / noise.std() * random.uniform(0, self.noise)
        return volume[None].contiguous()
