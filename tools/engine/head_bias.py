"""Where a segmentation network begins: the bias of its last layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FIRST_PROBABILITY = 0.02
"""Of a lesion, before training. Lesions cover a percent of a slice: from one half everywhere the Dice loss,
whose denominator is then all background, takes hundreds of steps to get anywhere."""


@torch.no_grad()
def expect_little(bias: Tensor, probability: float = FIRST_PROBABILITY) -> None:
    """Set the bias of the last layer so that blood, of all types together, begins at a probability.

    Args:
        bias: of the layer that gives the logits; one value, for the sigmoid, or the background's and one for
            each type, for the softmax. Changed in place.
        probability: from 0 to 1, both excluded.
    """
    odds = probability / (1 - probability)
    if len(bias) == 1:
        bias.fill_(math.log(odds))
    else:
        bias.fill_(math.log(odds / (len(bias) - 1)))
        bias[0] = 0
