"""Dice and cross-entropy, the lesion weighted in the latter alone."""

from __future__ import annotations

import torch
from monai.losses import DiceLoss
from torch import nn

__all__ = ["DiceCrossEntropy"]


class DiceCrossEntropy(nn.Module):
    """Sum of MONAI's `DiceLoss` over the batch and torch's cross-entropy.

    MONAI's `DiceCELoss`, whose `weight` also goes into the Dice term, is the same for a weight of 1.

    Args:
        lesion_weight: weight of the lesion class in the cross-entropy; 2 in Abramova 2022.
    """

    def __init__(self, lesion_weight: float = 1.0) -> None:
        super().__init__()
        self.dice = DiceLoss(to_onehot_y=True, softmax=True, batch=True)
        self.register_buffer("weight", torch.tensor([1.0, float(lesion_weight)]))

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """
        Args:
            logits: in shape (batch, 2, spatial_1, spatial_2[, spatial_3]).
            label: class values 0 and 1 in shape (batch, 1, spatial_1, spatial_2[, spatial_3]).
        """
        weight = self.weight.to(logits)
        entropy = nn.functional.cross_entropy(logits, label[:, 0].long(), weight)
        return self.dice(logits, label) + entropy
