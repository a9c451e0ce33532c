"""The brain, and what is hyperdense in it, as entries beside the image: found while that is in HU."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from tools.core.errors import InputError
from tools.sampling.case_regions import RoiSettings, as_volume, case_spacing
from tools.sampling.regions import hyperdense_region
from tools.volumes.brain import extract_brain

__all__ = ["ExtractBraind", "HyperdenseRegiond"]


class ExtractBraind(MapTransform):
    """Dictionary transform of `tools.volumes.brain.extract_brain`: adds a uint8 mask with the image's affine.

    Args:
        keys: one image in HU, RAS.
        brain_key: where the mask goes.
        method: see `extract_brain`.
    """

    def __init__(
        self, keys: KeysCollection = "image", brain_key: str = "brain", method: str = "smooth"
    ) -> None:
        super().__init__(keys)
        if len(self.keys) != 1:
            raise InputError(f"ExtractBraind makes one mask and takes one image key, got {self.keys}")
        self.brain_key, self.method = brain_key, method

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        brain = extract_brain(data[self.keys[0]], method=self.method)
        return {**data, self.brain_key: brain.to(torch.uint8)}


class HyperdenseRegiond(MapTransform):
    """Dictionary transform of `tools.sampling.regions.hyperdense_region`, for the image while it is in HU.

    Args:
        keys: image in HU, (1, X, Y, Z).
        brain_key: mask of the brain, (1, X, Y, Z).
        label_key: mask of the lesion; a case without it (inference) is searched whole.
        region_key: where the mask goes, (1, X, Y, Z) uint8, a MetaTensor if the image is one.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        brain_key: str = "brain",
        label_key: str = "label",
        region_key: str = "hyperdense",
    ) -> None:
        super().__init__(keys)
        self.brain_key, self.label_key, self.region_key = brain_key, label_key, region_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image = data[self.keys[0]]
        brain = as_volume(data[self.brain_key])[0] > 0
        lesion = as_volume(data[self.label_key])[0] > 0 if self.label_key in data else None
        spacing = case_spacing(image, RoiSettings())
        region = hyperdense_region(as_volume(image)[0], brain, spacing, lesion)[None].to(torch.uint8)
        if isinstance(image, MetaTensor):
            region = MetaTensor(region, affine=image.affine)
        return {**data, self.region_key: region}
