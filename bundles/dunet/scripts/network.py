"""D-Unet, the U-Net it is compared with, and the U-Net for windows of Hssayeni 2020: one family."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["DUNet", "UNet", "WindowUNet"]

UP = ("transposed", "resampled")


def double_convolution(before: int, after: int, norm: bool) -> nn.Sequential:
    """Two 3x3 convolutions that keep the size, each followed by batch normalisation (if `norm`) and ReLU."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers.append(nn.Conv2d(channels, after, 3, padding=1))
        if norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _he_normal(module: nn.Module) -> None:
    """He's initialisation; torch's own lets the signal of 20 layers without normalisation fade away."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)


class UpBlock(nn.Module):
    """Twice the size, concatenation with the skip connection, two convolutions.

    Args:
        below: channels that come from the level below.
        width: channels of the skip connection, and of the output.
        norm: batch normalisation after the two convolutions.
        up: "transposed", a 2x2 transposed convolution of stride 2; or "resampled", nearest neighbour, then a
            2x2 convolution (padded at the end of both axes) and ReLU.
    """

    def __init__(self, below: int, width: int, norm: bool, up: str) -> None:
        super().__init__()
        if up == "transposed":
            self.up = nn.Sequential(nn.ConvTranspose2d(below, width, 2, stride=2))
        else:
            self.up = nn.Sequential(
                nn.Upsample(scale_factor=2.0),
                nn.ZeroPad2d((0, 1, 0, 1)),
                nn.Conv2d(below, width, 2),
                nn.ReLU(inplace=True),
            )
        self.convolutions = double_convolution(2 * width, width, norm)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: in shape (batch, below, height, width).
            skip: in shape (batch, width, 2 * height, 2 * width).
        """
        return self.convolutions(torch.cat([skip, self.up(x)], dim=1))


class UNet(nn.Module):
    """U-Net for slices, with the parts in which three networks of two papers differ as arguments.

    As it stands it is the baseline of the D-Unet paper: 64 to 1024 channels, neither batch normalisation nor
    dropout. The convolutions are padded, where the paper crops, so that output and input have one size.

    Args:
        in_channels: channels of the slices.
        out_channels: channels of the logits.
        features: channels of each level, the lowest last.
        norm: batch normalisation after every 3x3 convolution but those of the head.
        dropout: drop rate after each max-pooling.
        up: how a level is reached from below, see `UpBlock`.
        maps: channels of a 3x3 convolution before the last one (1x1); 0 for none.

    Raises:
        ValueError: `up` is unknown.

    Example:
        >>> UNet(features=(4, 8, 16))(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([2, 1, 32, 32])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: Sequence[int] = (64, 128, 256, 512, 1024),
        norm: bool = False,
        dropout: float = 0.0,
        up: str = "transposed",
        maps: int = 0,
    ) -> None:
        super().__init__()
        if up not in UP:
            raise ValueError(f"up must be one of {UP}, got {up!r}")
        *levels, bottom = features
        self.settings = {"out_channels": out_channels}
        self.stride = 2 ** len(levels)
        self.encoders = nn.ModuleList(
            double_convolution(before, after, norm)
            for before, after in zip([in_channels, *levels], levels, strict=False)
        )
        self.down = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(dropout))
        self.bottom = double_convolution(levels[-1], bottom, norm)
        self.decoders = nn.ModuleList(
            UpBlock(below, width, norm, up)
            for below, width in zip([bottom, *reversed(levels)], reversed(levels), strict=False)
        )
        head: list[nn.Module] = [nn.Conv2d(levels[0], maps, 3, padding=1)] if maps else []
        self.head = nn.Sequential(*head, nn.Conv2d(maps or levels[0], out_channels, 1))
        for part in (self.encoders, self.bottom, self.decoders):
            part.apply(_he_normal)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: in shape (batch, in_channels, height, width), both multiples of 2 ** (len(features) - 1).

        Returns:
            logits in shape (batch, out_channels, height, width).
        """
        skips: list[torch.Tensor] = []
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x)
            x = self.down(x)
        x = self.bottom(x)
        for decoder in self.decoders:
            x = decoder(x, skips.pop())
        return self.head(x)


class DUNet(UNet):
    """D-Unet: half the U-Net's channels, batch normalisation, dropout of 0.2 after each max-pooling.

    7,765,409 trainable parameters for one channel in and out. The papers' sigmoid is left to the loss and the
    inferer: the network returns logits.

    Args:
        in_channels, out_channels, features, dropout: see `UNet`.

    Example:
        >>> DUNet()(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 1, 64, 64])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: Sequence[int] = (32, 64, 128, 256, 512),
        dropout: float = 0.2,
    ) -> None:
        super().__init__(in_channels, out_channels, features, norm=True, dropout=dropout)


class WindowUNet(UNet):
    """The U-Net of Hssayeni 2020, for windows of 160x160 pixels or whole slices: 24 convolutional layers.

    The paper counts four blocks down, four blocks up, up-convolutions that follow an up-sampling, "two" 3x3
    filters that give one image for hemorrhage and one for background, and a 1x1 filter. 24 layers are
    8 + 2 (below the fourth pooling) + 4 + 8 + 1 + 1: so the two 3x3 filters are one layer of two channels.
    The paper states no channels; 64 to 1024 are the usual ones.

    Args:
        in_channels, out_channels, features: see `UNet`.

    Example:
        >>> WindowUNet()(torch.zeros(1, 1, 32, 32)).shape
        torch.Size([1, 1, 32, 32])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: Sequence[int] = (64, 128, 256, 512, 1024),
    ) -> None:
        super().__init__(in_channels, out_channels, features, up="resampled", maps=2)
