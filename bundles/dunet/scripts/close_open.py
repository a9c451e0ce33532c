"""Masks of slices closed, then opened."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from tools.core.tensors import plain, with_metadata_of

__all__ = ["CloseOpend", "close_open"]


def close_open(label: Tensor, size: int = 3) -> Tensor:
    """Morphological closing, then opening, of every slice: gaps are filled, specks and spikes removed.

    The post-processing of Hssayeni 2020 (section 5), which states no structuring element: here a square.
    Beyond the border of a slice nothing is known: closing takes nothing away there and opening adds nothing.
    Types are one mask for that: what stays keeps its type, and a gap is filled with the type that has most of
    the square around it, of equals the lowest.

    Args:
        label: (1, X, Y) or (1, X, Y, Z) label map, 0 is background; slices lie in X and Y; not changed.
        size: side of the square in pixels, odd; 1 leaves the label as it is.

    Raises:
        ValueError: for an even size or a label map of another shape.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size must be odd and at least 1, got {size}")
    if label.ndim not in (3, 4) or label.shape[0] != 1:
        raise ValueError(
            f"label must have one channel and 2 or 3 spatial dimensions, got {tuple(label.shape)}"
        )
    values = plain(label)
    slices = values if values.ndim == 3 else values[0].movedim(-1, 0)

    def dilated(x: Tensor) -> Tensor:
        return max_pool2d(x, size, stride=1, padding=size // 2)

    def eroded(x: Tensor) -> Tensor:
        return -dilated(-x)

    x = slices[:, None]
    filled, most = torch.zeros_like(x), torch.zeros(x.shape, device=x.device)
    for kind in x[x > 0].unique():
        share = avg_pool2d((x == kind).float(), size, stride=1, padding=size // 2)
        filled, most = torch.where(share > most, kind, filled), torch.maximum(share, most)
    kept = dilated(eroded(eroded(dilated((x > 0).float())))) > 0
    x = torch.where(x > 0, x, filled).where(kept, 0)[:, 0]
    x = x if values.ndim == 3 else x.movedim(0, -1)[None]
    return with_metadata_of(label, x)


class CloseOpend(MapTransform):
    """Dictionary version of `close_open`; a size of 1 switches it off."""

    def __init__(self, keys: KeysCollection, size: int = 3, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.size = size

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = close_open(d[key], self.size) if self.size > 1 else d[key]
        return d
