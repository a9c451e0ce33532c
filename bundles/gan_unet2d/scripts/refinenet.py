"""RefineNet: four cascaded blocks bring a ResNet's coarse features back to a quarter of the full size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from segmentation_models_pytorch.encoders import get_encoder
from torch import nn
from torch.nn.functional import interpolate

__all__ = ["RefineNet"]

conv3 = partial(nn.Conv2d, kernel_size=3, padding=1)


class ResidualConvUnit(nn.Module):
    """x + conv(ReLU(conv(ReLU(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(nn.ReLU(), conv3(channels, channels), nn.ReLU(), conv3(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: in shape (batch, channels, height, width).
        """
        return x + self.convs(x)


class ChainedResidualPooling(nn.Module):
    """ReLU, then pools of 5x5 in a chain, each followed by a convolution and added to the result."""

    def __init__(self, channels: int, pools: int = 2) -> None:
        super().__init__()
        self.links = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(5, stride=1, padding=2), conv3(channels, channels, bias=False))
            for _ in range(pools)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: in shape (batch, channels, height, width).
        """
        total = link = torch.relu(x)
        for chain in self.links:
            link = chain(link)
            total = total + link
        return total


class RefineBlock(nn.Module):
    """Two residual conv units per input, fusion at the largest size, chained residual pooling, one more unit.

    Args:
        inputs: channels of the inputs; the first is the largest in size.
        channels: channels of the output.
    """

    def __init__(self, inputs: Sequence[int], channels: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(nn.Sequential(ResidualConvUnit(n), ResidualConvUnit(n)) for n in inputs)
        self.fusion = nn.ModuleList(conv3(n, channels) if len(inputs) > 1 else nn.Identity() for n in inputs)
        self.end = nn.Sequential(ChainedResidualPooling(channels), ResidualConvUnit(channels))

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """
        Args:
            inputs: each in shape (batch, its channels, its height, its width).
        """
        paths = [fuse(unit(x)) for x, unit, fuse in zip(inputs, self.units, self.fusion, strict=True)]
        size = paths[0].shape[2:]
        same = [x if x.shape[2:] == size else interpolate(x, size, mode="bilinear") for x in paths]
        return self.end(sum(same[1:], same[0]))


class RefineNet(nn.Module):
    """Four cascaded refinement blocks over the four levels of a ResNet (Lin, Milan, Shen, Reid 2017).

    Args:
        in_channels: channels of the slice.
        out_channels: channels of the logits.
        encoder: name of the ResNet in segmentation-models-pytorch, with random weights.
        features: channels of the blocks; the coarsest has twice as many.

    Example:
        >>> RefineNet(encoder="resnet18", features=8)(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 1, 64, 64])
    """

    def __init__(
        self, in_channels: int = 1, out_channels: int = 1, encoder: str = "resnet50", features: int = 256
    ) -> None:
        super().__init__()
        self.stride = 32
        self.encoder = get_encoder(encoder, in_channels=in_channels, depth=5, weights=None)
        widths = [features, features, features, 2 * features]
        self.reduce = nn.ModuleList(
            conv3(before, after, bias=False)
            for before, after in zip(self.encoder.out_channels[-4:], widths, strict=True)
        )
        self.blocks = nn.ModuleList(
            RefineBlock(widths[level : level + 2], widths[level]) for level in range(4)
        )  # the last has no coarser block below it
        self.head = nn.Sequential(
            ResidualConvUnit(features),
            ResidualConvUnit(features),
            nn.Dropout(0.5),
            conv3(features, out_channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: in shape (batch, in_channels, height, width), both sizes multiples of 32.

        Returns:
            logits in shape (batch, out_channels, height, width).
        """
        levels = [reduce(f) for reduce, f in zip(self.reduce, self.encoder(x)[-4:], strict=True)]
        refined = self.blocks[3](levels[3])
        for level in (2, 1, 0):
            refined = self.blocks[level](levels[level], refined)
        return interpolate(self.head(refined), x.shape[2:], mode="bilinear")
