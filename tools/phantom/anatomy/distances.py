"""Distances and simple morphology on label maps of 1 mm."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

#: Distance in mm beyond which `distance` need not be exact.
FAR = 60.0


def coarse_distance(mask: torch.Tensor) -> torch.Tensor:
    """mm from the nearest voxel of a mask on a grid of 2 mm: (ceil(X/2), ...) float32, at most `FAR`."""
    pad = [p for n in reversed(mask.shape) for p in (0, n % 2)]
    share = F.avg_pool3d(F.pad(mask[None, None].float(), pad), 2)[0, 0]
    half = share >= 0.5 if (share >= 0.5).any() else share > 0
    if not half.any():
        return torch.full(share.shape, FAR)
    found = ndimage.distance_transform_edt(~half.numpy(), sampling=2.0).astype(np.float32)
    return torch.from_numpy(found).clamp_max(FAR)


def refine(coarse: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A volume of 2 mm interpolated to 1 mm, (X, Y, Z)."""
    fine = F.interpolate(coarse[None, None].float(), scale_factor=2, mode="trilinear")[0, 0]
    return fine[tuple(slice(n) for n in shape)]


def distance(mask: torch.Tensor) -> torch.Tensor:
    """mm from the nearest voxel of a mask, (X, Y, Z) float32, measured on 2 mm and interpolated."""
    return refine(coarse_distance(mask), tuple(mask.shape))


def grow(mask: torch.Tensor, mm: int) -> torch.Tensor:
    """Dilation of a bool volume by a cube of half-width mm, by shifts of one axis after the other."""
    for axis in range(mask.ndim):
        n, reach = mask.shape[axis], 0
        while reach < min(mm, n - 1):
            # What reaches r to both sides, shifted by up to 2 r + 1, leaves no gap.
            step = min(2 * reach + 1, mm - reach, n - 1)
            grown = mask.clone()
            grown.narrow(axis, step, n - step).logical_or_(mask.narrow(axis, 0, n - step))
            grown.narrow(axis, 0, n - step).logical_or_(mask.narrow(axis, step, n - step))
            mask, reach = grown, reach + step
    return mask


def shrink(mask: torch.Tensor, mm: int) -> torch.Tensor:
    """Erosion, as `grow`."""
    return ~grow(~mask, mm)


def largest(mask: np.ndarray) -> np.ndarray:
    """Largest 6-connected part of a bool volume."""
    parts, count = ndimage.label(mask)
    return mask if count < 2 else parts == np.bincount(parts.ravel())[1:].argmax() + 1
