"""Label maps and one-hot tensors to boolean masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tools.core.errors import InputError
from tools.core.tensors import as_mask, plain


def class_masks(x: torch.Tensor, classes: Sequence[int] = ()) -> torch.Tensor:
    """Boolean masks of a segmentation: any foreground first, then each class.

    Args:
        x: in shape (batch, 1, spatial...) with class values, 0 for background; or (batch, num_classes,
            spatial...) one-hot with the background in channel 0. Any dtype, any device.
        classes: class values to return after the union; one that `x` has no channel for is all False.

    Returns:
        bool tensor in shape (batch, 1 + len(classes), spatial...).
    """
    x = plain(x)
    if x.ndim < 3:
        raise InputError(
            f"expected a segmentation in shape (batch, channel, spatial...), found {tuple(x.shape)}"
        )
    if x.shape[1] == 1:
        masks = [as_mask(x), *(x == value for value in classes)]
    else:
        one_hot = as_mask(x)
        absent = torch.zeros_like(one_hot[:, :1])
        channels = [one_hot[:, c : c + 1] if 0 < c < x.shape[1] else absent for c in classes]
        masks = [one_hot[:, 1:].any(dim=1, keepdim=True), *channels]
    return torch.cat(masks, dim=1) if len(masks) > 1 else masks[0]


def is_discrete(x: torch.Tensor) -> torch.Tensor:
    """Zero-dimensional bool tensor, on the device of `x`: are all values whole numbers (no probabilities)?"""
    if not x.is_floating_point():
        return torch.ones((), dtype=torch.bool, device=x.device)
    return (x == x.round()).all()


def check_pair(pred: torch.Tensor, truth: torch.Tensor, what: str = "prediction and truth") -> None:
    """Raise InputError unless both tensors have the same shape and at least one spatial axis."""
    if pred.shape != truth.shape or pred.ndim < 3:
        raise InputError(
            f"{what}: expected two tensors of the same shape (batch, channel, spatial...), "
            f"found {tuple(pred.shape)} and {tuple(truth.shape)}"
        )


def lesion_probability(prob: torch.Tensor) -> torch.Tensor:
    """Probability of any lesion: one channel as it is, of a softmax the sum of all but channel 0.

    It is not 1 - background: outside a crop that was undone all channels are 0.
    """
    prob = plain(prob)
    return prob if prob.shape[1] == 1 else prob[:, 1:].sum(1, keepdim=True).clamp(max=1)
