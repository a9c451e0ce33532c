"""Regions of a head CT that training patches are drawn from, as boolean masks on any device.

Abramova 2021 (section 2.2.1) draws half of the patches on the lesion and restricts the other half to regions
in which a network errs: the brain, a band around the lesion's border, the brain's centre, hyperdense voxels
that are no lesion. The paper states no width, side or threshold; the defaults are ours, in mm and HU.

Every mask has the spatial shape (X, Y, Z) of its volume, dtype bool. `spacing` is the voxel size in mm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cc3d
import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from tools.core.tensors import bounding_box

BORDER_MM = 5.0
"""Half-width of the cube that the lesion is dilated by. Less than half the width of a patch (14 mm for 32
voxels of 0.45 mm), so that every border patch shows lesion, and wider than annotators disagree (1-2 mm)."""

CENTRE_MM = 60.0
"""Side of the centre cube: holds the third and most of both lateral ventricles of an adult."""

BLOOD_ABOVE_TISSUE = (14.0, 64.0)
"""Acute blood, in HU above the case's own brain tissue: 46-96 HU where that has 32 HU. Scanners differ by
several HU, as do grey matter (5 HU above the median of the tissue) and old or thin blood; calcium and bone
lie higher."""

RIM_MM = 4.0
"""Depth of the brain's rim that the hyperdense region leaves out: partial volume of bone, sinuses, dura."""

THIN_MM = 2.5
"""In-plane width up to which a hyperdense structure counts as thin: falx, tentorium, vessels."""

MIN_ML = 0.2
"""Smallest hyperdense structure that is kept."""

HALO = 0.2
"""How far a clot's edge may fall below blood, as a share of blood's range: it shares voxels with fluid."""


def in_voxels(mm: float, spacing: Sequence[float]) -> tuple[int, int, int]:
    """Voxels per axis that reach at least `mm`, no fewer than one: a band in thick slices is never empty."""
    x, y, z = (max(1, math.ceil(mm / step - 1e-6)) for step in spacing)
    return x, y, z


def dilate(mask: Tensor, radius: Sequence[int]) -> Tensor:
    """Dilation of a mask (X, Y, Z) by a box that reaches `radius` voxels to either side, per axis.

    The box is separable, and along an axis its reach doubles with every pass, so a radius of 11 takes 4.
    """
    for axis, wanted in enumerate(radius):
        reach, size = 0, mask.shape[axis]
        while reach < min(wanted, size - 1):
            shift = min(reach + 1, min(wanted, size - 1) - reach)
            grown = mask.clone()
            grown.narrow(axis, shift, size - shift).logical_or_(mask.narrow(axis, 0, size - shift))
            grown.narrow(axis, 0, size - shift).logical_or_(mask.narrow(axis, shift, size - shift))
            mask, reach = grown, reach + shift
    return mask


def erode(mask: Tensor, radius: Sequence[int]) -> Tensor:
    """Erosion by the same box as `dilate`. What lies outside the volume does not erode it."""
    return ~dilate(~mask, radius)


def border_band(lesion: Tensor, spacing: Sequence[float], width_mm: float = BORDER_MM) -> Tensor:
    """The lesion dilated by a cube of half-width `width_mm` (at least one voxel), without the lesion."""
    band = torch.zeros_like(lesion)
    radius = in_voxels(width_mm, spacing)
    box = bounding_box(lesion, radius)
    if box is not None:
        # A voxel outside is as near to the lesion as to the lesion's border: dilating either gives the same
        band[box] = dilate(lesion[box], radius) & ~lesion[box]
    return band


def centre_cube(brain: Tensor, spacing: Sequence[float], side_mm: float = CENTRE_MM) -> Tensor:
    """Cube of side `side_mm` around the brain's centre, the middle of its first and last slice on every axis.

    It is cut at the volume's faces; intersect it with the brain where wanted.
    """
    cube = torch.zeros_like(brain)
    box = bounding_box(brain)
    if box is not None:
        sides = []
        for span, step in zip(box, spacing, strict=True):
            middle, half = (span.start + span.stop - 1) / 2, side_mm / step / 2
            sides.append(slice(max(0, math.ceil(middle - half)), math.floor(middle + half) + 1))
        cube[tuple(sides)] = True
    return cube


def hyperdense_region(
    hu: Tensor,
    brain: Tensor,
    spacing: Sequence[float],
    lesion: Tensor | None = None,
    blood: tuple[float, float] | None = None,
    rim_mm: float = RIM_MM,
    thin_mm: float = THIN_MM,
    min_ml: float = MIN_ML,
) -> Tensor:
    """Blood-like voxels of the brain, without the lesion and thin structures: intraventricular blood.

    The image is averaged over about 3 mm in plane, thresholded, freed of the lesion and of the brain's rim,
    and opened in plane by a square a little wider than `thin_mm` (falx, tentorium and vessels vanish). What
    is left is grown back inside the threshold by the same square, and by 1 mm into the blurred edge.

    Args:
        hu: volume (X, Y, Z) in HU, or in any unit in which `blood` is given.
        brain, lesion: masks (X, Y, Z), bool.
        spacing: voxel size in mm.
        blood: lowest and highest value of blood; None for `BLOOD_ABOVE_TISSUE`, which needs HU.
        rim_mm: depth of the brain's rim that is left out.
        thin_mm: width under which a structure is thin.
        min_ml: volume in mL of the smallest component that is kept.
    """
    region = torch.zeros_like(brain)
    box = bounding_box(brain)
    if box is None:
        return region
    image, inside = hu[box], erode(brain, in_voxels(rim_mm, spacing))[box]
    if lesion is not None:
        inside = inside & ~lesion[box]

    factor = [max(1, round(1.0 / step)) for step in spacing[:2]] + [1]
    coarse = tuple(step * by for step, by in zip(spacing, factor, strict=True))
    smooth = _mean(_mean(image.float(), factor, factor), (3, 3, 1), (1, 1, 1))
    free = _mean(inside.float(), factor, factor) >= 0.5
    if blood is None:
        smooth, blood = smooth - _tissue_level(smooth, free), BLOOD_ABOVE_TISSUE
    low, high = blood
    blood_like = (smooth >= low) & (smooth <= high) & free
    square = [max(1, round(thin_mm / step / 2)) for step in coarse[:2]] + [0]
    thick = dilate(erode(blood_like, square), square)
    fringe = dilate(thick, (1, 1, 0)) & free & (smooth >= low - HALO * (high - low)) & (smooth <= high)
    kept = (dilate(thick, square) & blood_like) | fringe
    smallest = max(1, round(min_ml * 1000.0 / math.prod(coarse)))
    kept = torch.from_numpy(cc3d.dust(kept.cpu().numpy(), smallest, connectivity=26)).to(image.device)
    for axis, by in enumerate(factor):
        kept = kept.repeat_interleave(by, dim=axis).narrow(axis, 0, image.shape[axis])
    region[box] = kept & inside
    return region


def _tissue_level(image: Tensor, brain: Tensor) -> Tensor:
    """HU of brain tissue per slice, (Z,): scanners differ, and beam hardening lifts base and vertex.

    The median of the slice's voxels near that of the volume, to which neither ventricles nor blood belong;
    the volume's for slices that have few voxels.
    """
    values = torch.where(brain, image, torch.nan)[::2, ::2]  # a quarter of the voxels is enough
    level = values.nanmedian()
    near = torch.where((values - level).abs() <= 15.0, values, torch.nan).flatten(0, 1)
    count = (~near.isnan()).sum(0)
    return torch.where(count >= 0.05 * count.max(), near.nanmedian(dim=0).values, level).nan_to_num(0.0)


def _mean(volume: Tensor, window: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Mean of (X, Y, Z) in boxes; what a box has outside the volume does not count."""
    if all(size == 1 for size in window):
        return volume
    padding = [size // 2 if step == 1 else 0 for size, step in zip(window, stride, strict=True)]
    return avg_pool3d(
        volume[None], list(window), list(stride), padding, ceil_mode=True, count_include_pad=False
    )[0]
