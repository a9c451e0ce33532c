"""Loss of networks that tell the types of hemorrhage apart: where there is blood, and which it is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.losses import DiceCELoss, TverskyLoss
from monai.transforms import MapTransform
from torch import Tensor, nn

UNKNOWN_TYPE = 255
"""Label of blood whose type nobody has stated."""


class UnknownTyped(MapTransform):
    """Labels whose blood is of no stated type: what is above 0 becomes `UNKNOWN_TYPE`."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = (d[key] > 0) * UNKNOWN_TYPE
        return d


class BloodAndTypesLoss(nn.Module):
    """Cross-entropy and Dice of the types, and Tversky's loss of their union (Salehi 2017).

    The union's loss does not suffer where two types are taken for one another. All Dice terms are over the
    batch, since most slices and patches lack most types. Blood of unknown type (`UNKNOWN_TYPE`) counts as
    blood, of the type that the network itself finds likeliest.

    Args:
        any_weight: weight of the union's loss beside the mean over the types.
        types_weight: weight of that mean.
        recall: what a missed voxel weighs in the union's loss, a false one `1 - recall`; a half is Dice.
    """

    def __init__(self, any_weight: float = 1.0, types_weight: float = 0.5, recall: float = 0.5) -> None:
        super().__init__()
        self.any_weight, self.types_weight = any_weight, types_weight
        self.types = DiceCELoss(
            include_background=False, to_onehot_y=True, softmax=True, batch=True, lambda_dice=types_weight
        )
        self.union = TverskyLoss(alpha=1 - recall, beta=recall, batch=True)

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """
        Args:
            logits: in shape (batch, 1 + types, spatial...), the background first.
            label: class values in shape (batch, 1, spatial...).
        """
        unknown = label == UNKNOWN_TYPE
        if unknown.any():
            likeliest = logits.detach()[:, 1:].argmax(1, keepdim=True) + 1
            label = torch.where(unknown, likeliest.to(label.dtype), label)
        blood = 1 - logits.softmax(1)[:, :1]
        return self.types(logits, label) + self.any_weight * self.union(blood, (label > 0).to(blood.dtype))
