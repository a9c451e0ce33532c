"""Clean-up of label maps after the network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import cc3d
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor
from torch.nn.functional import max_pool2d

from tools.core.tensors import plain, with_metadata_of

__all__ = [
    "CloseOpend",
    "KeepLargeComponentsd",
    "LabelFromProbabilitiesd",
    "blood_probability",
    "close_open",
    "keep_large_components",
    "label_from_probabilities",
]


def label_from_probabilities(probabilities: Tensor, threshold: float = 0.5) -> Tensor:
    """Class values from probabilities: blood where that of all types together is high enough.

    Args:
        probabilities: (1, spatial...), the lesion's; or (1 + types, spatial...), background first, which
            add up to 1.
        threshold: least probability of blood. Of several types, it is the most probable one there.

    Returns:
        (1, spatial...) uint8: 0 is background, 1 the lesion or the first type.
    """
    blood = blood_probability(probabilities) >= threshold
    if len(probabilities) == 1:
        return blood.to(torch.uint8)
    return blood * (probabilities[1:].argmax(0, keepdim=True) + 1).to(torch.uint8)


def blood_probability(probabilities: Tensor) -> Tensor:
    """Probability (1, spatial...) of hemorrhage of any type, from that of the lesion or those of all classes.

    It is the sum of the types and not one minus the background: outside a crop that was undone all are 0.
    """
    return probabilities if len(probabilities) == 1 else probabilities[1:].sum(0, keepdim=True)


def keep_large_components(label: Tensor, fraction: float = 0.1) -> Tensor:
    """Set connected components that are small beside the largest one to background.

    Abramova 2022 drops those smaller than 10 % of the largest. A component is what hangs together over
    faces, edges or corners (26 neighbours; 8 in 2D), whatever class its voxels have.

    Args:
        label: (1, spatial...) label map in 2D or 3D, 0 is background.
        fraction: components with fewer voxels than this share of the largest are dropped; 0 keeps all.

    Returns:
        a new label map of the same type, dtype and device.

    Raises:
        ValueError: for a fraction outside [0, 1] or a label map of another shape.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be from 0 to 1, got {fraction}")
    values = _checked(label)
    mask = (values[0] != 0).cpu().numpy()
    components, count = cc3d.connected_components(
        mask, connectivity=26 if mask.ndim == 3 else 8, return_N=True
    )
    if fraction == 0 or count < 2:
        return label.clone()
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    sizes[0] = 0
    small = sizes < fraction * sizes.max()
    return label.masked_fill(torch.from_numpy(small[components]).to(label.device), 0)


class _LabelMapd(MapTransform):
    """Cleans up each of its keys by `clean`."""

    def clean(self, label: Tensor) -> Tensor:
        raise NotImplementedError

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.clean(d[key])
        return d


def _checked(label: Tensor) -> Tensor:
    """A label map's tensor without metadata; ValueError if it is none."""
    if label.ndim not in (3, 4) or label.shape[0] != 1:
        raise ValueError(
            f"label must have one channel and 2 or 3 spatial dimensions, got {tuple(label.shape)}"
        )
    return plain(label)


class KeepLargeComponentsd(_LabelMapd):
    """Dictionary version of `keep_large_components`.

    Args:
        keys: label maps, (1, spatial...).
        fraction: see `keep_large_components`; 0 switches the transform off.
        allow_missing_keys: don't raise where a key is absent.
    """

    def __init__(self, keys: KeysCollection, fraction: float = 0.1, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.fraction = fraction

    def clean(self, label: Tensor) -> Tensor:
        return keep_large_components(label, self.fraction) if self.fraction else label


def close_open(label: Tensor, size: int = 3) -> Tensor:
    """Morphological closing, then opening, of every slice: gaps are filled, specks and spikes removed.

    The post-processing of Hssayeni 2020 (section 5), which states no structuring element: here a square.
    Beyond the border of a slice nothing is known, so that closing takes nothing away there and opening adds
    nothing.

    Args:
        label: (1, X, Y) or (1, X, Y, Z) label map of 0 and another value; slices lie in X and Y.
        size: side of the square in pixels, odd; 1 leaves the label as it is.

    Returns:
        a new label map of the same type, dtype and device.

    Raises:
        ValueError: for an even size or a label map of another shape.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size must be odd and at least 1, got {size}")
    values = _checked(label)
    slices = values if values.ndim == 3 else values[0].movedim(-1, 0)

    def dilated(x: Tensor) -> Tensor:
        return max_pool2d(x, size, stride=1, padding=size // 2)

    def eroded(x: Tensor) -> Tensor:
        return -dilated(-x)

    x = slices.float()[:, None]
    x = dilated(eroded(eroded(dilated(x))))[:, 0].to(values.dtype)
    x = x if values.ndim == 3 else x.movedim(0, -1)[None]
    return with_metadata_of(label, x)


class CloseOpend(_LabelMapd):
    """Dictionary version of `close_open`.

    Args:
        keys: label maps, (1, spatial...).
        size: see `close_open`; 1 switches the transform off.
        allow_missing_keys: don't raise where a key is absent.
    """

    def __init__(self, keys: KeysCollection, size: int = 3, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.size = size

    def clean(self, label: Tensor) -> Tensor:
        return close_open(label, self.size) if self.size > 1 else label


class LabelFromProbabilitiesd(MapTransform):
    """Dictionary version of `label_from_probabilities`.

    Args:
        keys: probabilities, (channels, spatial...).
        threshold: see `label_from_probabilities`.
        allow_missing_keys: don't raise where a key is absent.
    """

    def __init__(
        self, keys: KeysCollection, threshold: float = 0.5, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.threshold = threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = label_from_probabilities(d[key], self.threshold)
        return d
