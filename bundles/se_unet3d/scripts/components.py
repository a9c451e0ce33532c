"""Components of a label map that are small beside the largest one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import cc3d
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

from tools.core.tensors import plain

__all__ = ["KeepLargeComponentsd", "keep_large_components"]


def keep_large_components(label: Tensor, fraction: float = 0.1) -> Tensor:
    """Set connected components that are small beside the largest one to background.

    Abramova 2022 drops those smaller than 10 % of the largest. A component is what hangs together over
    faces, edges or corners (26 neighbours; 8 in 2D), whatever class its voxels have.

    Args:
        label: (1, spatial...) label map in 2D or 3D, 0 is background; not changed.
        fraction: components with fewer voxels than this share of the largest are dropped; 0 keeps all.

    Raises:
        ValueError: for a fraction outside [0, 1] or a label map of another shape.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be from 0 to 1, got {fraction}")
    if label.ndim not in (3, 4) or label.shape[0] != 1:
        raise ValueError(
            f"label must have one channel and 2 or 3 spatial dimensions, got {tuple(label.shape)}"
        )
    mask = (plain(label)[0] != 0).cpu().numpy()
    components, count = cc3d.connected_components(
        mask, connectivity=26 if mask.ndim == 3 else 8, return_N=True
    )
    if fraction == 0 or count < 2:
        return label.clone()
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    sizes[0] = 0
    small = sizes < fraction * sizes.max()
    return label.masked_fill(torch.from_numpy(small[components]).to(label.device), 0)


class KeepLargeComponentsd(MapTransform):
    """Dictionary version of `keep_large_components`; a fraction of 0 switches it off."""

    def __init__(self, keys: KeysCollection, fraction: float = 0.1, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.fraction = fraction

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = keep_large_components(d[key], self.fraction) if self.fraction else d[key]
        return d
