"""The regions of one case, a dictionary as MONAI's transforms pass it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor

from tools.core.errors import InputError
from tools.core.tensors import plain, voxel_spacing
from tools.sampling import regions
from tools.sampling.mix import REGIONS, RoiMix


@dataclass(frozen=True)
class RoiSettings:
    """How the regions of a case are found.

    Args:
        border_mm: half-width of the cube that the lesion is dilated by for the border band.
        centre_mm: side of the centre cube.
        brain_key: mask of the brain; without it, where the first channel is not background.
        hyperdense_key: mask of the hyperdense region, see `regions.hyperdense_region`.
        hu_key: volume in HU, from which the hyperdense region is found in cases without `hyperdense_key`.
        blood: lowest and highest value of blood in units of the first channel, for cases with neither.
        spacing: voxel size in mm of plain tensors; MetaTensors know their own.
    """

    border_mm: float = regions.BORDER_MM
    centre_mm: float = regions.CENTRE_MM
    brain_key: str = "brain"
    hyperdense_key: str = "hyperdense"
    hu_key: str = "hu"
    blood: tuple[float, float] | None = None
    spacing: Sequence[float] = (1.0, 1.0, 1.0)


def as_volume(volume: Any) -> Tensor:
    """The tensor (C, X, Y, Z) of a MetaTensor, tensor or array; (C, X, Y) becomes one slice."""
    tensor = plain(volume)
    return tensor.unsqueeze(-1) if tensor.ndim == 3 else tensor


def slice_masks(masks: Sequence[Tensor]) -> list[Tensor]:
    """Regions of voxels (X, Y, Z) as regions of slices: one voxel, in the middle, per slice of a region.

    Slices with lesion belong to the lesion alone.
    """
    lesion = masks[REGIONS.index("lesion")].any(0).any(0)
    result = []
    for name, mask in zip(REGIONS, masks, strict=True):
        slices = lesion if name == "lesion" else mask.any(0).any(0) & ~lesion
        result.append(torch.zeros_like(mask))
        result[-1][mask.shape[0] // 2, mask.shape[1] // 2] = slices
    return result


def case_spacing(volume: Any, settings: RoiSettings) -> Sequence[float]:
    """Voxel size in mm of a volume."""
    return voxel_spacing(volume.affine) if isinstance(volume, MetaTensor) else settings.spacing


def case_masks(
    item: Mapping[Any, Any],
    name: str,
    mix: RoiMix,
    settings: RoiSettings,
    background: float,
) -> list[Tensor]:
    """Masks (X, Y, Z) of a case in the order of `REGIONS`; those that `mix` has no use for are empty.

    All but the lesion exclude the lesion; border, centre and hyperdense region lie within the brain.
    Brain, or image if there is none, stand in where every negative region of the mix is empty.

    Raises:
        InputError: a key is missing or shapes differ; the hyperdense region is wanted and cannot be found.
    """
    item = {key: value for key, value in item.items() if not isinstance(value, str)}  # files not loaded
    for key in ("image", "label"):
        if key not in item:
            raise InputError(f"{name}: expected the key '{key}', found {', '.join(map(str, item))}")
    image = as_volume(item["image"])
    if image.ndim != 4:
        raise InputError(f"{name}: 'image' should be (C, X, Y, Z), got {tuple(image.shape)}")
    for key in ("label", settings.brain_key, settings.hyperdense_key, settings.hu_key):
        if key in item and as_volume(item[key]).shape[1:] != image.shape[1:]:
            found, expected = tuple(as_volume(item[key]).shape[1:]), tuple(image.shape[1:])
            raise InputError(f"{name}: '{key}' should have the size {expected} of 'image', got {found}")
    lesion = _mask(item, name, "label")
    spacing = case_spacing(item["image"], settings)
    outside = ~lesion
    given = settings.brain_key in item
    brain = _mask(item, name, settings.brain_key) if given else image[0] != background
    tissue = brain & outside
    masks = {"lesion": lesion}
    border = ivh = torch.zeros_like(lesion)
    if mix.needs("border") or mix.needs("border_or_ivh"):
        border = regions.border_band(lesion, spacing, settings.border_mm) & tissue
    if mix.needs("ivh") or mix.needs("border_or_ivh"):
        ivh = _hyperdense(item, name, settings, image, brain, lesion, spacing) & tissue
    if mix.needs("centre"):
        masks["centre"] = regions.centre_cube(brain, spacing, settings.centre_mm) & tissue
    wanted = {"border": border, "ivh": ivh, "border_or_ivh": border | ivh}
    masks |= {region: mask for region, mask in wanted.items() if mix.needs(region)}
    # The larger regions are kept only where they are wanted or the last resort: they have the most runs.
    for region, mask in (("brain", tissue), ("image", outside)):
        others = any(bool(found.any()) for key, found in masks.items() if key != "lesion")
        if mix.needs(region) or not others:
            masks[region] = mask
    return [masks.get(region, torch.zeros_like(lesion)) for region in REGIONS]


def _mask(item: Mapping[Any, Any], name: str, key: str) -> Tensor:
    """Boolean (X, Y, Z) of the volume (1, X, Y, Z) under a key."""
    if key not in item:
        raise InputError(f"{name}: expected the key '{key}', found {', '.join(map(str, item))}")
    volume = as_volume(item[key])
    if volume.ndim != 4 or volume.shape[0] != 1:
        raise InputError(f"{name}: '{key}' should have the shape (1, X, Y, Z), got {tuple(volume.shape)}")
    return volume[0] > 0


def _hyperdense(
    item: Mapping[str, Any],
    name: str,
    settings: RoiSettings,
    image: Tensor,
    brain: Tensor,
    lesion: Tensor,
    spacing: Sequence[float],
) -> Tensor:
    if settings.hyperdense_key in item:
        return _mask(item, name, settings.hyperdense_key)
    if settings.hu_key in item:
        return regions.hyperdense_region(as_volume(item[settings.hu_key])[0], brain, spacing, lesion)
    if settings.blood is not None:
        return regions.hyperdense_region(image[0], brain, spacing, lesion, blood=settings.blood)
    raise InputError(
        f"{name}: the hyperdense region expects the key '{settings.hyperdense_key}' (a mask) or "
        f"'{settings.hu_key}' (HU), or `blood` in the image's units, found {', '.join(map(str, item))}"
    )
