"""What a reader outlines of the blood in a scan: not what bone hides, nor what nobody can see."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from tools.core.tensors import block_means
from tools.phantom.scanner.closed_form import blur_slices
from tools.phantom.variation import BRAIN_HU

__all__ = ["DENSEST_HU", "FAINTEST", "outlined"]

DENSEST_HU = 130.0
"""No clot is as dense as that in a scan, with its noise and the bright rim inside the skull: bone is."""

FAINTEST = 30.0
"""HU mm: difference from the brain around, times the root of the area, of the faintest blood to be seen.

After Rose (1948), who found that an object is seen where this is about five times the noise; here the
noise is the unevenness of brain, taken as 5 to 6 HU over 1 mm.
"""

FAINTEST_HU = 4.0
"""Least difference from the brain around, however large the area: brain is uneven over large areas too."""

BLUR_MM = 1.5
"""How far from bone a voxel may be bright because of it alone."""

AROUND_MM = 8.0
"""Standard deviation of the weights by which the brain around a voxel is averaged."""

COARSE = 4
"""Pixels of a side that become one for that average, which is smooth over so many."""


def outlined(
    label: Tensor,
    image: Tensor,
    brain: Tensor,
    spacing: tuple[float, float] = (1.0, 1.0),
    densest: float = DENSEST_HU,
    faintest: float = FAINTEST,
) -> Tensor:
    """The part of a label that can be seen in the scan.

    The truth of a synthetic head is where blood is. Beside the skull a voxel may hold blood and yet be as
    bright as bone, which is blurred into it; and a thin layer in a sulcus may look like the brain beside it.
    A network is told to call these hemorrhage, of which a reader would outline none.

    Args:
        label: (1, X, Y, Z) class values, 0 is background.
        image: (1, X, Y, Z) HU.
        brain: (1, X, Y, Z), above 0 is brain.
        spacing: size of a pixel in mm along X and Y.
        densest: HU above which no voxel is hemorrhage.
        faintest: HU mm that a connected piece of one class in a slice must reach, see `FAINTEST`, with those
            of its voxels that lie more than `BLUR_MM` from bone; 0 keeps all.

    Example:
        >>> label, image = torch.zeros(1, 32, 32, 1), torch.full((1, 32, 32, 1), 33.0)
        >>> label[0, 4:10, 4:10], image[0, 4:10, 4:10] = 1, 60.0  # to be seen
        >>> label[0, 20:22, 20:22], image[0, 20:22, 20:22] = 1, 36.0  # not to be seen
        >>> int(outlined(label, image, torch.ones_like(label)).sum())
        36
    """
    kept = label.masked_fill(image > densest, 0)
    if not faintest or not kept.any():
        return kept
    unlike = (image[0].float() - _brain_around(kept[0], image[0].float(), brain[0], spacing)).cpu().numpy()
    clear = ~_beside(image[0] > densest, spacing).cpu().numpy()
    classes, area = kept[0].cpu().numpy(), float(np.prod(spacing))
    in_slices = np.zeros((3, 3, 3), bool)
    in_slices[:, :, 1] = True
    for value in np.unique(classes[classes > 0]):
        pieces, number = ndimage.label(classes == value, in_slices)
        voxels = np.nonzero(pieces)
        piece, told = pieces[voxels], clear[voxels]
        pixels = np.bincount(piece[told], minlength=number + 1).clip(min=1)
        difference = np.bincount(piece[told], unlike[voxels][told], minlength=number + 1) / pixels
        faint = np.abs(difference) < np.maximum(FAINTEST_HU, faintest / np.sqrt(pixels * area))
        classes[tuple(axis[faint[piece]] for axis in voxels)] = 0
    return torch.from_numpy(classes).to(kept.device)[None]


def _beside(bone: Tensor, spacing: tuple[float, float]) -> Tensor:
    """(X, Y, Z) bool: bone, and what lies within `BLUR_MM` of it in its slice."""
    reach = [math.ceil(BLUR_MM / mm) for mm in spacing]
    slices = bone.permute(2, 0, 1)[:, None].float()
    size = [2 * pixels + 1 for pixels in reach]
    return F.max_pool2d(slices, size, stride=1, padding=reach)[:, 0].permute(1, 2, 0) > 0


def _brain_around(label: Tensor, image: Tensor, brain: Tensor, spacing: tuple[float, float]) -> Tensor:
    """(X, Y, Z) HU of the brain without blood around each voxel, weighted by nearness within its slice."""
    plain = ((brain > 0) & (label == 0) & (image > 0) & (image < DENSEST_HU)).float()
    if not plain.any():
        return torch.full_like(image, BRAIN_HU)
    mean = (image * plain).sum() / plain.sum()
    sigma = (AROUND_MM / spacing[0] / COARSE, AROUND_MM / spacing[1] / COARSE)
    coarse = (block_means(part, (COARSE, COARSE, 1), rest=True) for part in (plain, (image - mean) * plain))
    weight, sums = (blur_slices(part, sigma) for part in coarse)
    around = (sums / (weight + 1e-3)).permute(2, 0, 1)[:, None]
    around = F.interpolate(around, scale_factor=float(COARSE), mode="bilinear")[:, 0]
    return around.permute(1, 2, 0)[: image.shape[0], : image.shape[1]] + mean
