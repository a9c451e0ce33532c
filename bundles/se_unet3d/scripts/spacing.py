"""Resampling to a fixed voxel size and back, safe for MONAI Label's metadata and in little memory."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Spacingd, SpatialResample
from monai.utils import TraceKeys, get_equivalent_dtype, get_torch_dtype_from_string
from torch import Tensor

from tools.core.tensors import bounding_box

__all__ = ["ResampleSpacingd"]

SLICES = 16  # that are resampled at a time
MARGIN = 2  # voxels around the places that values are interpolated at: one more than they need


class ResampleSpacingd(Spacingd):
    """MONAI's `Spacingd` with an off switch, some slices at a time, and without its trap.

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
        whole = self.spacing_transform.sp_resample
        self.spacing_transform.sp_resample = SlabResample(
            whole.mode, whole.padding_mode, whole.align_corners, whole.dtype
        )

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
                d[key] = self.spacing_transform.sp_resample.inverse(d[key])
        return d


class SlabResample(SpatialResample):
    """MONAI's `SpatialResample` of a volume, which makes its result some slices at a time.

    MONAI's own takes a copy of the volume in float64, and three coordinates for each voxel of the result.
    On the way back, nothing is made where the image is 0.
    """

    def __call__(  # type: ignore[override]
        self, img: Any, dst_affine: Any = None, spatial_size: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """As MONAI's; another number of dimensions, and what need not be resampled, goes there."""
        kwargs |= dict(zip(("mode", "padding_mode", "align_corners", "dtype", "lazy"), args, strict=False))
        given = isinstance(img, MetaTensor) and dst_affine is not None and spatial_size is not None
        size = [int(n) for n in spatial_size] if given and not isinstance(spatial_size, int) else []
        if len(size) != 3 or img.ndim != 4 or list(img.shape[1:]) == size or kwargs.get("lazy"):
            return super().__call__(img, dst_affine, spatial_size, **kwargs)
        settings = {key: value for key, value in kwargs.items() if value is not None and key != "lazy"}
        target = torch.as_tensor(dst_affine, dtype=torch.float64)
        result = self._in_slabs(img, target, size, [slice(0, n) for n in size], settings)
        noted = self.track_transform_meta(
            img,
            sp_size=size,
            affine=torch.linalg.solve(img.affine.double(), target),
            orig_size=tuple(img.shape[1:]),
            extra_info={
                "dtype": str(get_equivalent_dtype(settings.get("dtype", self.dtype), Tensor)).removeprefix(
                    "torch."
                ),
                "mode": settings.get("mode", self.mode),
                "padding_mode": settings.get("padding_mode", self.padding_mode),
                "align_corners": settings.get("align_corners", self.align_corners),
                "src_affine": img.affine.double(),
            },
            transform_info=self.get_transform_info(),
        )
        return MetaTensor(result).copy_meta_from(noted)

    def inverse(self, data: Any) -> Any:
        """What MONAI's returns."""
        info = self.get_most_recent_transform(data)
        size = [int(n) for n in info[TraceKeys.ORIG_SIZE]]
        if len(size) != 3 or list(data.shape[1:]) == size:
            return super().inverse(data)
        self.pop_transform(data)
        settings = {
            name: info[TraceKeys.EXTRA_INFO][name]
            for name in ("mode", "padding_mode", "align_corners", "dtype")
        }
        settings["dtype"] = get_torch_dtype_from_string(settings["dtype"])
        if settings["align_corners"] == TraceKeys.NONE:
            settings["align_corners"] = False
        affine = torch.as_tensor(info[TraceKeys.EXTRA_INFO]["src_affine"], dtype=torch.float64)
        result = self._in_slabs(data, affine, size, _box_of(data, affine, size), settings)
        out = MetaTensor(result).copy_meta_from(data)
        out.affine = affine
        return out

    def _in_slabs(
        self,
        image: MetaTensor,
        affine: Tensor,
        size: Sequence[int],
        box: Sequence[slice],
        settings: Mapping[str, Any],
    ) -> Tensor:
        """Voxels of `box` in a volume of the given affine and size, float32; the others are 0."""
        result = image.as_tensor().new_zeros((len(image), *size), dtype=torch.float32)
        for first in range(box[2].start, box[2].stop, SLICES):
            part = (*box[:2], slice(first, min(first + SLICES, box[2].stop)))
            shape = [side.stop - side.start for side in part]
            with self.trace_transform(False):
                made = super().__call__(_near(image, affine, part), _shifted(affine, part), shape, **settings)
            result[(slice(None), *part)] = made.as_tensor() if isinstance(made, MetaTensor) else made
        return result


def _shifted(affine: Tensor, box: Sequence[slice]) -> Tensor:
    """The affine of the voxels in a box."""
    corner = torch.eye(4, dtype=torch.float64)
    corner[:3, 3] = torch.tensor([float(side.start) for side in box])
    return affine.double() @ corner


def _near(image: MetaTensor, affine: Tensor, box: Sequence[slice]) -> MetaTensor:
    """The part of an image that the voxels `box` of another grid are interpolated from."""
    corners = list(product(*((side.start, side.stop - 1.0) for side in box)))
    points = torch.tensor([[*corner, 1.0] for corner in corners], dtype=torch.float64)
    places = (points @ torch.linalg.solve(image.affine.double(), affine).T)[:, :3]
    low, high = places.amin(0).floor().int().tolist(), places.amax(0).ceil().int().tolist()
    near = [  # at least two voxels, those of the border for what lies outside
        slice(min(max(a - MARGIN, 0), n - 1), max(min(b + MARGIN + 1, n), 1))
        for a, b, n in zip(low, high, image.shape[1:], strict=True)
    ]
    part = image.as_tensor()[(slice(None), *near)]
    return MetaTensor(part, affine=_shifted(image.affine, near))


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
