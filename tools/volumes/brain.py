"""Where the brain is on a head CT: the intracranial mask, by rules in mm and HU that hold for any slices."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import cc3d
import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from tools.core.errors import InputError
from tools.core.tensors import (
    affine_of,
    block_means,
    convolve_axis,
    file_name,
    head_image,
    voxel_spacing,
    with_metadata_of,
)

WORKING_MM = 1.0  # masks are found on a grid of about this spacing; finer detail is noise to them
HEAD_HU = -200.0  # between air and fat
BONE_HU = 300.0
REACH_MM = 190.0  # from the vertex down: below it there is only neck
FORAMEN_CM2 = 12.0  # a slice of the skull's inside with less area, below the widest, is spinal canal
LEAK_SHARE = 0.08  # of the vault's outline without bone: more is a hole in the skull


def extract_brain(
    volume: torch.Tensor,
    affine: torch.Tensor | np.ndarray | None = None,
    method: str = "smooth",
    case: str | None = None,
) -> torch.Tensor:
    """Mask of the inside of the skull.

    Args:
        volume: head CT in HU, shape (1, X, Y, Z), RAS orientation.
        affine: 4x4 voxel-to-world matrix in mm; taken from `volume` if that is a MetaTensor.
        method: "smooth" (ours), the whole inside of the skull, down to the foramen magnum and out to half the
            height between brain and bone, so that blood on the inner table is inside; 2-5 % of its voxels are
            part bone. "rules2022" (Abramova 2022): 0-100 HU, opening, largest component; above the slice with
            the largest area the largest component of each slice, below it each slice AND the one above it.
            "muschelli" (after Muschelli 2015): 0-100 HU, smoothed, largest component, filled.
        case: name for messages, instead of the MetaTensor's file name.

    Returns:
        bool mask of the volume's shape, on its device; a MetaTensor with its affine if `volume` is one. With
        "smooth", a UserWarning names the case if the skull is open and the mask may leak.

    Raises:
        InputError: the volume has the wrong shape, is not finite, or shows no head.
    """
    name = case or file_name(volume, "volume")
    if method not in _METHODS:
        raise InputError(f"{name}: brain method must be one of {sorted(_METHODS)}, got {method!r}")
    image, spacing = head_image(volume, name), voxel_spacing(affine_of(volume, affine, name))
    if min(image.shape[:2]) < 16:
        raise InputError(f"{name}: expected a head CT of shape (1, X, Y, Z), found {tuple(volume.shape)}")
    if not all(0.05 < mm < 50 for mm in spacing):
        raise InputError(f"{name}: expected an affine in mm, found voxels of {spacing}")

    def find(coarse: torch.Tensor, grid: Sequence[float]) -> torch.Tensor:
        mask, box = torch.zeros_like(coarse, dtype=torch.bool), _head_box(coarse, grid)
        if box is not None:
            mask[box] = _METHODS[method](coarse[box], grid, name)
        return mask

    mask = _on_working_grid(image, spacing, WORKING_MM, find)
    if not mask.any():
        raise InputError(f"{name}: expected a head CT in HU, found no brain in it")
    return with_metadata_of(volume, mask[None])


def _smooth(hu: torch.Tensor, grid: Sequence[float], name: str) -> torch.Tensor:
    """Ours. Blur and threshold take the place of erosion and dilation: noise leaves no holes in them.

    The core is tissue at least 4 mm inside, without what is narrower (optic canals, orbital fissures, scalp).
    It is grown back to half the height between brain and bone, the true edge where a voxel holds both.
    """
    tissue = ((hu > -30) & (hu < 130)).float()
    core = _largest(_blur(tissue, 3.0, grid) > 0.92)
    # 6 mm about the core; in the vault, where there is only bone to meet, 8 mm: its walls slant to the slices
    above = torch.arange(hu.shape[2], device=hu.device) > core.sum(dim=(0, 1)).argmax()
    near_core = _blur(core.float(), 3.0, grid) > torch.where(above, 0.003, 0.03)
    mask = _largest(near_core & (hu > -60) & (hu < _half_height(hu)))
    mask = _fill_slices(_blur(mask.float(), 1.0, (*grid[:2], torch.inf)) > 0.5)
    mask = _largest(_without_islands(_above_foramen(mask, grid), grid))
    _warn_leak(mask, hu, grid, name)
    return mask


def _rules2022(hu: torch.Tensor, grid: Sequence[float], name: str) -> torch.Tensor:
    """Abramova 2022. Ours are the opening's radius of 3 mm, which the paper doesn't state, filled slices, and
    that spinal cord below the foramen magnum and islands (orbital roof) are left out."""
    mask = _largest(_open((hu > 0) & (hu < 100), grid, radius=3.0))
    widest = int(mask.sum(dim=(0, 1)).argmax())
    for z in range(widest, mask.shape[2]):
        mask[..., z] = _largest(mask[..., z])
    for z in range(widest - 1, -1, -1):
        mask[..., z] &= mask[..., z + 1]
    return _largest(_without_islands(_above_foramen(_fill_slices(mask), grid), grid))


def _muschelli(hu: torch.Tensor, grid: Sequence[float], name: str) -> torch.Tensor:
    """After Muschelli 2015: 0-100 HU, Gaussian smoothing (sigma 1 mm), brain extraction, filled.

    For theirs, FSL's BET, which is not free software, stand opening by 3 mm and the largest component.
    """
    smooth = _blur(((hu > 0) & (hu < 100)).float(), 1.0, grid) > 0.5
    return _fill_slices(_largest(_open(smooth, grid, radius=3.0)))


_METHODS: dict[str, Callable[[torch.Tensor, Sequence[float], str], torch.Tensor]] = {
    "smooth": _smooth,
    "rules2022": _rules2022,
    "muschelli": _muschelli,
}


def _half_height(hu: torch.Tensor) -> torch.Tensor:
    """HU of a voxel that is half brain, half bone, with the bone of this skull."""
    bone = hu[hu > BONE_HU]
    level = bone.quantile(0.9) if bone.numel() else hu.new_tensor(1000.0)
    return ((level + 35.0) / 2).clamp(300.0, 800.0)


def _above_foramen(mask: torch.Tensor, grid: Sequence[float]) -> torch.Tensor:
    """Without the slices from the highest one below the widest whose area is that of the spinal canal."""
    area = mask.sum(dim=(0, 1)) * (grid[0] * grid[1] / 100)
    below = torch.arange(len(area), device=area.device) < area.argmax()
    canal = torch.nonzero(below & (area < FORAMEN_CM2))
    out = mask.clone()
    if len(canal):
        out[..., : int(canal.max()) + 1] = False
    return out


def _without_islands(mask: torch.Tensor, grid: Sequence[float], cm2: float = 1.0) -> torch.Tensor:
    """Without small islands beside larger regions of the same slice: air cells, clefts of the skull base."""
    flat = mask.cpu().numpy()
    out = flat.copy()
    threshold = int(cm2 * 100 / (grid[0] * grid[1]))
    for z in range(flat.shape[2]):
        if flat[..., z].sum() > 4 * threshold:
            kept = cc3d.dust(np.ascontiguousarray(flat[..., z]), threshold=threshold, connectivity=4)
            out[..., z] = kept > 0
    return torch.from_numpy(out).to(mask.device)


def _warn_leak(mask: torch.Tensor, hu: torch.Tensor, grid: Sequence[float], name: str) -> None:
    """Warn if part of the vault has no bone within 4 mm outside the mask."""
    widest = int(mask.sum(dim=(0, 1)).argmax())
    vault = mask[..., widest:].float()
    bone = (hu[..., widest:] > BONE_HU).float()
    reach = [2 * round(4 / g) + 1 for g in grid[:2]] + [1]
    bone_near = F.max_pool3d(bone[None, None], reach, 1, [r // 2 for r in reach])[0, 0]
    outline = (F.max_pool3d(vault[None, None], (3, 3, 1), 1, (1, 1, 0))[0, 0] > 0) & (vault == 0)
    bare = float(((bone_near == 0) & outline).sum() / outline.sum().clamp_min(1))
    if bare > LEAK_SHARE:
        warnings.warn(
            f"{name}: {bare:.0%} of the vault's outline has no bone (craniotomy?); the brain mask may leak",
            UserWarning,
            stacklevel=6,
        )


def _on_working_grid(
    image: torch.Tensor,
    spacing: Sequence[float],
    mm: float,
    find: Callable[[torch.Tensor, Sequence[float]], torch.Tensor],
) -> torch.Tensor:
    """Mask that `find` makes on blocks of about `mm`, brought back to the image's voxels."""
    factor = [max(1, round(mm / s)) for s in spacing]
    coarse = block_means(image, factor, rest=True)
    mask = find(coarse, [s * f for s, f in zip(spacing, factor, strict=True)])
    if max(factor) == 1:
        return mask
    x, y, z = image.shape
    coarse_mask = mask.float()[None, None]
    if factor[2] > 1:  # trilinear is linear along z, then bilinear: some slices at a time take less memory
        coarse_mask = F.interpolate(coarse_mask, scale_factor=[1.0, 1.0, float(factor[2])], mode="trilinear")
    scale = [float(factor[0]), float(factor[1]), 1.0]
    result = torch.empty((x, y, z), dtype=torch.bool, device=image.device)
    for part, place in zip(coarse_mask[..., :z].split(32, dim=-1), result.split(32, dim=-1), strict=True):
        place.copy_(F.interpolate(part, scale_factor=scale, mode="trilinear")[0, 0, :x, :y] >= 0.5)
    return result


def _head_box(hu: torch.Tensor, grid: Sequence[float]) -> tuple[slice, ...] | None:
    """Box around the head, from the vertex down: skips the air, table and neck that cost time."""
    step = [max(1, round(4 / g)) for g in grid]
    pooled = block_means(hu, step, rest=True)
    head = _largest(pooled > HEAD_HU)
    if not head.any():
        return None
    box = []
    for axis, used in enumerate((head.any(2).any(1), head.any(2).any(0), head.any(1).any(0))):
        indices = torch.nonzero(used)
        start, stop = int(indices.min()) * step[axis], (int(indices.max()) + 1) * step[axis]
        if axis == 2:
            start = max(start, stop - round(REACH_MM / grid[2]))
        box.append(slice(start, min(stop, hu.shape[axis])))
    return tuple(box)


def _blur(image: torch.Tensor, sigma: float, grid: Sequence[float]) -> torch.Tensor:
    """Gaussian blur by `sigma` mm. The border is repeated, as slabs end within the head."""
    for axis, spacing in enumerate(grid):
        width = sigma / spacing
        if width < 0.2:
            continue
        radius = max(1, round(2.5 * width))
        offsets = torch.arange(-radius, radius + 1)
        kernel = torch.exp(-0.5 * (offsets / width).square())
        image = convolve_axis(image, (kernel / kernel.sum()).tolist(), axis)
    return image


def _open(mask: torch.Tensor, grid: Sequence[float], radius: float) -> torch.Tensor:
    """Opening by a disc of `radius` mm in each slice: slices are too thick for a ball."""
    flat = mask.cpu().numpy()
    out = np.zeros_like(flat)
    for z in range(flat.shape[2]):
        core = ndimage.distance_transform_edt(flat[..., z], sampling=grid[:2]) > radius
        if core.any():
            out[..., z] = ndimage.distance_transform_edt(~core, sampling=grid[:2]) <= radius
    return torch.from_numpy(out).to(mask.device)


def _fill_slices(mask: torch.Tensor) -> torch.Tensor:
    """Holes of each slice filled: calcifications, air, metal."""
    flat = mask.cpu().numpy()
    filled = [ndimage.binary_fill_holes(flat[..., z]) for z in range(flat.shape[2])]
    return torch.from_numpy(np.stack(filled, axis=-1)).to(mask.device)


def _largest(mask: torch.Tensor) -> torch.Tensor:
    """Largest connected component (faces) of a 2D or 3D mask; an empty mask stays empty."""
    flat = mask.cpu().numpy()
    if not flat.any():
        return mask
    labels = cc3d.largest_k(np.ascontiguousarray(flat), k=1, connectivity=6 if flat.ndim == 3 else 4)
    return torch.from_numpy(labels > 0).to(mask.device)
