"""In-plane resizing with MONAI's anti-aliasing, as products of matrices: the same values, far faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Resize, Resized
from torch import Tensor


class ResizeSlices(Resize):
    """`Resize((x, y, -1), mode="trilinear", anti_aliasing=True)` of a volume (C, X, Y, Z), by slices.

    Smoothing and interpolating are linear and separable: one matrix for each direction does both. MONAI's own
    smoothing is a 3D convolution, which takes seconds for a head CT of 512x512 pixels. `size` is (x, y).
    """

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__((*size, -1), mode="trilinear")

    def __call__(self, img: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        """The resized volume, float32; it carries what `inverse` needs, as MONAI's does."""
        resized = super().__call__(img, *args, **kwargs)
        if tuple(resized.shape) != tuple(img.shape):
            along_x, along_y = (
                resizing_matrix(before, after).to(resized.device)
                for before, after in zip(img.shape[1:3], resized.shape[1:3], strict=True)
            )
            slices = torch.as_tensor(img).float().moveaxis(-1, 1)
            result = (along_x @ slices @ along_y.T).moveaxis(1, -1).contiguous()
            resized = (
                MetaTensor(result).copy_meta_from(resized) if isinstance(resized, MetaTensor) else result
            )
        return resized


class ResizeSlicesd(Resized):
    """`ResizeSlices` of dictionaries."""

    def __init__(self, keys: KeysCollection, size: Sequence[int]) -> None:
        super().__init__(keys, (*size, -1), mode="trilinear")
        self.resizer = ResizeSlices(size)

    def __call__(self, data: Any, lazy: bool | None = None) -> dict:
        """The dictionary with resized images."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.resizer(d[key])
        return d


def resizing_matrix(before: int, after: int) -> Tensor:
    """What MONAI makes of each of the `before` unit vectors, as (after, before) float32."""
    unit_vectors = torch.eye(before)  # as channels
    return torch.as_tensor(Resize((after,), mode="linear", anti_aliasing=True)(unit_vectors)).T.contiguous()
