"""Resampling to a fixed voxel size, safe for MONAI Label's metadata, and undone in little memory."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Spacingd, SpatialResample
from monai.utils import TraceKeys, get_torch_dtype_from_string

from tools.core.tensors import bounding_box

__all__ = ["ResampleSpacingd"]

SLICES = 16  # that are resampled at a time


class ResampleSpacingd(Spacingd):
    """MONAI's `Spacingd` with an off switch, and without its trap.

    MONAI 1.6 calls `.update` on every entry whose key starts with `image_` or `label_`; MONAI Label adds the
    string `image_path` to every request. Entries of that kind that are no dictionaries are put aside here
    during the call.

    Args:
        keys: images and labels, (C, X, Y, Z) MetaTensors.
        pixdim: voxel size in mm to resample to; None leaves all as they are.
        mode: interpolation for each key.
        allow_missing_keys: don't raise where a key is absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        pixdim: Sequence[float] | None,
        mode: str | Sequence[str] = "bilinear",
        allow_missing_keys: bool = False,
    ) -> None:
        self.off = pixdim is None
        super().__init__(keys, pixdim or (1.0, 1.0, 1.0), mode=mode, allow_missing_keys=allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        d = dict(data)
        if self.off:
            return d
        prefixes = tuple(f"{key}_" for key in self.keys)
        aside = {
            key: d.pop(key)
            for key in list(d)
            if isinstance(key, str) and key.startswith(prefixes) and not isinstance(d[key], dict)
        }
        result: dict[Hashable, Any] = dict(super().__call__(d, lazy))
        return result | aside

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if not self.off:
            for key in self.key_iterator(d):
                d[key] = _undone(self.spacing_transform.sp_resample, d[key])
        return d


def _undone(resample: SpatialResample, image: MetaTensor) -> MetaTensor:
    """What `resample.inverse` returns, made some slices at a time, and only where the image is not 0.

    MONAI's own takes several copies of the result in float64 and a point of three coordinates per voxel.
    """
    info = resample.get_most_recent_transform(image)
    affine = info[TraceKeys.EXTRA_INFO]["src_affine"]
    size = [int(n) for n in info[TraceKeys.ORIG_SIZE]]
    if len(size) != 3 or list(image.shape[1:]) == size:
        return resample.inverse(image)  # type: ignore[return-value]
    resample.pop_transform(image)
    settings = {name: info[TraceKeys.EXTRA_INFO][name] for name in ("mode", "padding_mode", "align_corners")}
    if settings["align_corners"] == TraceKeys.NONE:
        settings["align_corners"] = False
    dtype: Any = get_torch_dtype_from_string(info[TraceKeys.EXTRA_INFO]["dtype"])
    result = image.as_tensor().new_zeros((len(image), *size), dtype=torch.float32)
    box = _box_of(image, affine, size)
    for first in range(box[2].start, box[2].stop, SLICES):
        part = (*box[:2], slice(first, min(first + SLICES, box[2].stop)))
        corner = torch.eye(4, dtype=torch.float64)
        corner[:3, 3] = torch.tensor([float(side.start) for side in part])
        place = torch.as_tensor(affine, dtype=torch.float64) @ corner
        shape = [side.stop - side.start for side in part]
        with resample.trace_transform(False):
            made = resample(image, dst_affine=place, spatial_size=shape, dtype=dtype, **settings)
        result[(slice(None), *part)] = made.as_tensor() if isinstance(made, MetaTensor) else made
    out = MetaTensor(result).copy_meta_from(image)
    out.affine = affine
    return out


def _box_of(image: MetaTensor, affine: Any, size: Sequence[int]) -> list[slice]:
    """The voxels of the result into which values other than 0 are interpolated, as a box."""
    used = (image.as_tensor() != 0).any(0)
    found = bounding_box(used, (1, 1, 1))
    if found is None:
        return [slice(0, 0)] * 3
    # where the border is repeated, what touches it reaches beyond
    ends = [
        (-float(n) if side.start == 0 else side.start - 1.0, 2.0 * n if side.stop == n else float(side.stop))
        for side, n in zip(found, used.shape, strict=True)
    ]
    corners = torch.tensor([[*corner, 1.0] for corner in product(*ends)], dtype=torch.float64)
    to_result = torch.linalg.solve(torch.as_tensor(affine, dtype=torch.float64), image.affine.double())
    places = (corners @ to_result.T)[:, :3]
    low, high = places.amin(0).floor().int().tolist(), places.amax(0).ceil().int().tolist()
    return [slice(min(max(a, 0), n), min(max(b + 1, 0), n)) for a, b, n in zip(low, high, size, strict=True)]
