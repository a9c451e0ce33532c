"""From a network's probabilities to label maps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

from tools.core.tensors import plain, with_metadata_of
from tools.metrics.masks import lesion_probability


def label_from_probabilities(probabilities: Tensor, threshold: float = 0.5) -> Tensor:
    """Class values (1, spatial...) uint8: blood, of the likeliest type, where all types are likely enough.

    Args:
        probabilities: (1, spatial...), the lesion's; or (1 + types, spatial...), background first.
        threshold: least probability of blood, of all types together.
    """
    given, probabilities = probabilities, plain(probabilities)
    blood = blood_probability(probabilities) >= threshold
    label = blood.to(torch.uint8)
    if len(probabilities) > 1:  # in few voxels there is a choice, and over all of them argmax is slow
        label[blood] = (probabilities[1:, blood[0]].argmax(0) + 1).to(torch.uint8)
    return with_metadata_of(given, label)


def blood_probability(probabilities: Tensor) -> Tensor:
    """Probability (1, spatial...) of hemorrhage of any type, from that of the lesion or those of all classes.

    It is the sum of the types and not one minus the background: outside a crop that was undone all are 0.
    Metadata stay, by which `SaveMaskd` knows the file.
    """
    return with_metadata_of(probabilities, lesion_probability(probabilities[None])[0])


class LabelFromProbabilitiesd(MapTransform):
    """Dictionary version of `label_from_probabilities`."""

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
