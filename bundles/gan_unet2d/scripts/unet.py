"""The U-Nets of Li 2021: blocks that halve and blocks that double the size of the slice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution
from torch import nn
from torch.nn.functional import conv2d

__all__ = ["ACTIVATIONS", "DILATION_RATES", "UNet"]

DILATION_RATES = ((1, 3), (2, 3), (3, 5))
"""Rates of UNet6Dil's two convolutions at full, half and quarter resolution.

The paper states none. These make the receptive field 196 pixels wide instead of UNet6's 68, nearly three
times as much, and have no common divisor within a block, so that neighbouring pixels share
their inputs (no gridding).
"""


ACTIVATIONS = {
    "relu": ("relu", {"inplace": True}),
    "leakyrelu": ("leakyrelu", {"negative_slope": 0.2, "inplace": True}),
}
"""By name. The paper states no slope of its generators' leaky one: that of pix2pix, which it builds on."""


class FoldedConvolution(Convolution):
    """MONAI's `Convolution` of convolution, batch normalisation and activation, in evaluation with the
    normalisation folded into the convolution's weights: the same result, without a pass over the features."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: in shape (batch, channels, height, width).
        """
        if torch.jit.is_scripting():  # leaves the other branch alone, which TorchScript can't compile
            return self.adn(self.conv(x))
        else:
            # what MONAI exports for TensorRT has its normalisation wrapped: nothing to fold there
            plain = self.training or not isinstance(self.adn.N, nn.BatchNorm2d)
            return self.adn(self.conv(x)) if plain else self._folded(x)

    def _folded(self, x: torch.Tensor) -> torch.Tensor:
        conv, norm = self.conv, self.adn.N
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        weight, bias = conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
        return self.adn.A(conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation))


def conv_block(before: int, after: int, rates: Sequence[int], activation: str = "relu") -> nn.Sequential:
    """One (3x3 convolution, batch normalisation, activation) for each dilation rate."""
    widths = [before] + [after] * len(rates)
    return nn.Sequential(
        *(
            FoldedConvolution(
                2,
                width,
                after,
                kernel_size=3,
                dilation=rate,
                bias=False,
                act=ACTIVATIONS[activation],
                norm="batch",
                adn_ordering="NA",
            )
            for width, rate in zip(widths, rates, strict=False)
        )
    )


class UNet(nn.Module):
    """U-Net of `2 * depth` blocks: `depth` that end in a 2x2 max-pooling and double the channels, and as many
    that begin with a 2x2 transposed convolution and the skip of their size, and halve the channels.

    UNet10 is `depth=5`, UNet6 `depth=3`, UNet6Dil `depth=3, rates=DILATION_RATES` (Li 2021, section II.B).
    There is no further block between them: 10 and 6 blocks are the count of the paper. The channels are
    64-128-256 down and 128-64-32 up for UNet6, by our choice; the paper states none.

    Args:
        in_channels: 1, or 2 with the mirrored slice.
        out_channels: channels of the logits.
        depth: blocks down, and blocks up.
        features: channels after the first block.
        rates: dilation rates of each level's convolutions, from full resolution on; None for two plain ones.
        dropout: drop rate after the innermost half of the blocks up (rounded down), the noise of adversarial
            training.
        activation: key of `ACTIVATIONS`: ReLU in U-Nets (section II.B), LeakyReLU in generators (II.C).

    Raises:
        ValueError: when there are not as many `rates` as levels, or there is no such activation.

    Example:
        >>> UNet(depth=3, features=8)(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 1, 64, 64])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        depth: int = 3,
        features: int = 64,
        rates: Sequence[Sequence[int]] | None = None,
        dropout: float = 0.0,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, found {activation!r}")
        rates = [(1, 1)] * depth if rates is None else rates
        if len(rates) != depth:
            raise ValueError(f"rates must be given for {depth} levels, got {rates}")
        self.stride = 2**depth
        widths = [features * 2**level for level in range(depth)]
        self.downs = nn.ModuleList(
            conv_block(before, after, rate, activation)
            for before, after, rate in zip([in_channels, *widths], widths, rates, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.ups, self.joins = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(depth)):
            width = widths[level]  # of the skip, and of what comes from below
            self.ups.append(nn.ConvTranspose2d(width, width // 2, 2, stride=2))
            join = conv_block(width // 2 + width, width // 2, rates[level], activation)
            if level > (depth - 1) // 2:
                join.append(nn.Dropout(dropout))
            self.joins.append(join)
        self.head = nn.Conv2d(features // 2, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: in shape (batch, in_channels, height, width), both sizes multiples of 2 ** depth.

        Returns:
            logits in shape (batch, out_channels, height, width).
        """
        skips = []
        for down in self.downs:
            skips.append(down(x))
            x = self.pool(skips[-1])
        for up, join in zip(self.ups, self.joins, strict=True):
            x = join(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)
