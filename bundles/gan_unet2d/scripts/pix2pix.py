"""Generator and discriminator as figure 3 of Li 2021 draws them: the shape of pix2pix (Isola 2017)."""

from __future__ import annotations

from functools import partial

import torch
from monai.networks.blocks import Convolution
from torch import nn

__all__ = ["PatchDiscriminator", "Pix2Pix"]

# the order in which the text lists a step's layers: convolution, activation, normalisation
step = partial(
    Convolution, 2, kernel_size=4, padding=1, act=("leakyrelu", {"negative_slope": 0.2}), adn_ordering="AN"
)


class Pix2Pix(nn.Module):
    """Generator with 7 steps down and as many up, and a skip between steps of the same size.

    A step down is a 4x4 convolution of stride 2, LeakyReLU and batch normalisation, a step up the same with a
    transposed convolution (Li 2021, section II.C, figure 3a).

    Args:
        in_channels: channels of the slice.
        out_channels: channels of the logits.
        depth: steps down, and steps up.
        features: channels after the first step; they double up to eight times that.
        dropout: drop rate after the innermost half of the steps up (rounded down): three, as in pix2pix.

    Example:
        >>> Pix2Pix(features=8)(torch.zeros(2, 1, 128, 128)).shape
        torch.Size([2, 1, 128, 128])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        depth: int = 7,
        features: int = 64,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.stride = 2**depth
        widths = [features * min(2**level, 8) for level in range(depth)]
        self.downs = nn.ModuleList(
            step(before, after, strides=2, norm="batch", bias=False)
            for before, after in zip([in_channels, *widths], widths, strict=False)
        )
        self.ups = nn.ModuleList()
        for number, level in enumerate(reversed(range(1, depth))):
            before = widths[level] * (1 if number == 0 else 2)  # with the skip
            up = step(
                before,
                widths[level - 1],
                strides=2,
                norm="batch",
                bias=False,
                is_transposed=True,
                output_padding=0,
            )
            self.ups.append(nn.Sequential(up, nn.Dropout(dropout if number < depth // 2 else 0.0)))
        self.head = nn.ConvTranspose2d(2 * features, out_channels, 4, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: in shape (batch, in_channels, height, width), both sizes multiples of 2 ** depth.

        Returns:
            logits in shape (batch, out_channels, height, width).
        """
        skips = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
        skips.pop()
        for up in self.ups:
            x = torch.cat([skips.pop(), up(x)], 1)
        return self.head(x)


class PatchDiscriminator(nn.Module):
    """Says of every patch of a slice whether the map on it is true or predicted (Li 2021, figure 3b).

    4 steps of 4x4 convolution and LeakyReLU, the last three with batch normalisation, then one convolution
    that gives the logits. Strides 2, 2, 2, 1 make patches of 70x70 pixels, pix2pix's; the paper states no
    size. Normalisation always takes the statistics of its batch and keeps none: nothing in the discriminator
    changes but by its own optimiser.

    Args:
        in_channels: channels of the slice and of the map together.
        features: channels after the first step; they double.

    Example:
        >>> PatchDiscriminator(2, features=8)(torch.zeros(2, 2, 64, 64)).shape
        torch.Size([2, 1, 6, 6])
    """

    def __init__(self, in_channels: int = 2, features: int = 64) -> None:
        super().__init__()
        norm = ("batch", {"track_running_stats": False})
        widths = [features * 2**number for number in range(4)]
        steps = [step(in_channels, widths[0], strides=2, adn_ordering="A")]
        for before, after, stride in zip(widths, widths[1:], (2, 2, 1), strict=False):
            steps.append(step(before, after, strides=stride, norm=norm, bias=False))
        self.steps = nn.Sequential(*steps)
        self.head = nn.Conv2d(widths[-1], 1, 4, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: slice and map in [0, 1], in shape (batch, in_channels, height, width), sizes from 32.

        Returns:
            logits in shape (batch, 1, height // 8 - 2, width // 8 - 2), above 0 for a true map.
        """
        return self.head(self.steps(x))
