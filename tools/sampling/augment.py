"""Random affine changes of 2D training batches, on the device, of a whole batch at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tools.core.errors import InputError


@dataclass(frozen=True)
class RandomAffine2d:
    """Every slice is flipped, turned, shifted, sheared, zoomed and cropped by itself, its label likewise.

    All in one resampling: bilinear for images, nearest for labels; what comes in from outside is 0.

    Args:
        flip: probability of a left-right flip (along X).
        rotation: largest angle in degrees, to either side.
        shift: largest shift to either side, as a share of the slice.
        shear: largest shear to either side, as a share: how far a row moves per unit of height.
        zoom: largest zoom to either side; 0.2 draws factors from 0.8 to 1.2.
        crop: largest part cut off a side; 0.1 enlarges a window of 0.9 to 1 of the slice anywhere in it.
    """

    flip: float = 0.0
    rotation: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    crop: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "shift", "shear"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected a share from 0 to 1, found {getattr(self, name)}")
        for name in ("zoom", "crop"):
            if not 0 <= getattr(self, name) < 1:
                found = getattr(self, name)
                raise InputError(f"{name}: expected a share from 0 to less than 1, found {found}")

    def __call__(self, image: Tensor, label: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Changed copies of image (B, C, X, Y), floating point, and label (B, 1, X, Y)."""
        theta = self.matrices(len(image), random).to(image.device)
        return warp(image, theta, "bilinear"), warp(label.float(), theta, "nearest").to(label.dtype)

    def matrices(self, count: int, random: torch.Generator) -> Tensor:
        """Matrices (count, 2, 3) that map places of the result to places of the source, both in -1..1."""

        def uniform(limit: float) -> Tensor:
            draw = torch.rand(count, generator=random, device=random.device, dtype=torch.float64)
            return (2 * draw - 1) * limit

        flip = torch.where(uniform(1.0) < 2 * self.flip - 1, -1.0, 1.0)
        angle, shear = uniform(math.radians(self.rotation)), uniform(self.shear)
        factor = 1 + uniform(self.zoom)
        window = 1 - (uniform(self.crop / 2) + self.crop / 2)  # its side; it lies anywhere in the slice
        offset = [uniform(2 * self.shift) + uniform(1.0) * (1 - window) for _ in range(2)]
        scale = window / factor
        cos, sin = angle.cos() * scale, angle.sin() * scale
        rows = [
            torch.stack([flip * cos, flip * (shear * cos - sin), offset[0]], -1),
            torch.stack([sin, shear * sin + cos, offset[1]], -1),
        ]
        return torch.stack(rows, 1).float()


def warp(slices: Tensor, theta: Tensor, mode: str) -> Tensor:
    """Slices (B, C, X, Y) resampled at theta (B, 2, 3), whose rows and columns are (x, y) in -1..1."""
    # grid_sample counts the last axis first; half-pixel convention: -1 and 1 are the outer edges
    grid = F.affine_grid(theta[:, [1, 0]][:, :, [1, 0, 2]], list(slices.shape), align_corners=False)
    return F.grid_sample(slices, grid, mode=mode, padding_mode="zeros", align_corners=False)
