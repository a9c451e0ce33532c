"""SegNet: the encoder's pooling indices place the decoder's features."""

from __future__ import annotations

import torch
from torch import nn

from scripts.unet import conv_block

__all__ = ["SegNet"]

CONVS = (2, 2, 3, 3, 3)
"""Convolutions per level: the 13 of VGG16."""


class SegNet(nn.Module):
    """VGG16's 13 convolutions with batch normalisation, and their mirror image, in which max-unpooling puts
    every value back where the encoder's maximum was (Badrinarayanan, Kendall, Cipolla 2017). No features are
    passed on, only those places.

    Args:
        in_channels: channels of the slice.
        out_channels: channels of the logits.
        features: channels of the first level; they double up to eight times that.

    Example:
        >>> SegNet(features=4)(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 1, 64, 64])
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, features: int = 64) -> None:
        super().__init__()
        self.stride = 2 ** len(CONVS)
        widths = [features * min(2**level, 8) for level in range(len(CONVS))]
        self.encoders = nn.ModuleList(
            conv_block(before, after, [1] * convs)
            for before, after, convs in zip([in_channels, *widths], widths, CONVS, strict=False)
        )
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.decoders = nn.ModuleList()
        for level in reversed(range(len(CONVS))):
            width, above = widths[level], widths[max(0, level - 1)]
            last = [] if level == 0 else [conv_block(width, above, [1])]
            self.decoders.append(nn.Sequential(conv_block(width, width, [1] * (CONVS[level] - 1)), *last))
        self.head = nn.Conv2d(features, out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: in shape (batch, in_channels, height, width), both sizes multiples of 32.

        Returns:
            logits in shape (batch, out_channels, height, width).
        """
        places = []
        for encode in self.encoders:
            x, indices = self.pool(encode(x))
            places.append(indices)
        for decode in self.decoders:
            x = decode(self.unpool(x, places.pop()))
        return self.head(x)
