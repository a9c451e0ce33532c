"""Random changes of intensity, on the device, of a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class IntensityNoise:
    """Each patch's channels are scaled and shifted at random, and every voxel gets noise; the background
    stays.

    Args:
        noise: standard deviation of the Gaussian noise per voxel, in units of the image.
        shift: standard deviation of the shift per patch and channel, in units of the image.
        scale: standard deviation of the factor's distance from 1, per patch and channel.
        background: value that is left as it is.
    """

    noise: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    background: float = 0.0

    def __call__(self, images: Tensor, random: torch.Generator) -> Tensor:
        """Changed copy of images (B, C, spatial...), floating point, on the device of `random`."""
        per_channel = (*images.shape[:2], *[1] * (images.ndim - 2))
        changed = images
        if self.scale:
            changed = changed * (1 + self.scale * self._normal(per_channel, images, random))
        if self.shift:
            changed = changed + self.shift * self._normal(per_channel, images, random)
        if self.noise:
            changed = changed + self.noise * self._normal(images.shape, images, random)
        return torch.where(images == self.background, images, changed)

    @staticmethod
    def _normal(shape: tuple[int, ...], like: Tensor, random: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=random, device=like.device, dtype=like.dtype)
