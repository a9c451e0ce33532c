"""The 3D U-Net with squeeze-and-excitation of Abramova 2021 and of its INSTANCE 2022 version."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers import Act, Conv, Dropout
from torch import nn

from tools.core.errors import InputError

__all__ = ["SEUNet", "SqueezeExcitation", "check_roi_size"]

SE_PLACES = ("none", "ends", "skips", "encoder", "blocks")


class SqueezeExcitation(nn.Module):
    """Channel recalibration by global average, two linear layers without bias and a sigmoid (Hu 2018).

    MONAI's `ChannelSELayer` has biases, which the papers' parameter counts exclude.

    Args:
        channels: channels in and out.
        reduction: by how much the hidden layer is narrower.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction, bias=False)
        self.excite = nn.Linear(channels // reduction, channels, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: in shape (batch, channels, spatial_1, spatial_2[, spatial_3]).
        """
        mean = x.flatten(2).mean(-1)
        weight = torch.sigmoid(self.excite(torch.relu(self.squeeze(mean))))
        return x * weight.reshape(weight.shape + (1,) * (x.ndim - 2))


class SEUNet(nn.Module):
    """U-Net with one convolution per level, learned down-sampling, additive skips and squeeze-and-excitation.

    One class is both papers' network:

    - Abramova 2021: `features=(32, 64, 128, 256)`, `se="ends"`: SE where the encoding path ends (128
      channels) and where the decoding path ends (32 channels). 2,263,042 parameters for two input channels
      (section 2.2.2); without SE (`se="none"`) it is that paper's baseline 3D U-Net, 2,260,866.
    - INSTANCE 2022: `features=(32, 64, 128, 256, 512)`, `se="skips"`: SE on each skip connection, while the
      down-sampling takes the features as they were, and on the bottleneck before its ReLU, as in the code
      that its authors published. 9,186,210 parameters for one input channel. The paper's text says SE
      "after each level in the encoding path" (section 2.4): with `se="encoder"` the down-sampling takes the
      recalibrated features too. `se="blocks"`, after every encoder and decoder block, it tried as well.

    Both texts say max-pooling; the number of parameters that the first states needs strided convolutions.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: classes, background included.
        features: channels of each level, the bottleneck last.
        se: where SE stands: "none"; "ends", where the encoding and the decoding path end; "skips"; "encoder",
            after every encoder level and on the bottleneck; or "blocks", after every decoder level too.
        reduction: reduction ratio of SE.
        dropout: drop rate after each down-sampling, from the first to the bottleneck. The decoding path
            drops the last of these rates after each skip but the one of full resolution.

    Raises:
        ValueError: when `se` is unknown, or `dropout` has not one rate for each down-sampling.

    Example:
        >>> network = SEUNet(in_channels=2)
        >>> network(torch.zeros(1, 2, 32, 32, 16)).shape
        torch.Size([1, 2, 32, 32, 16])
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 2,
        out_channels: int = 2,
        features: Sequence[int] = (32, 64, 128, 256),
        se: str = "ends",
        reduction: int = 16,
        dropout: Sequence[float] = (0.25, 0.5, 0.5),
    ) -> None:
        super().__init__()
        depth = len(features) - 1
        if se not in SE_PLACES:
            raise ValueError(f"se must be one of {SE_PLACES}, got {se!r}")
        if len(dropout) != depth:
            raise ValueError(
                f"dropout must have {depth} rates for {depth + 1} features, got {tuple(dropout)}"
            )
        conv, up = Conv[Conv.CONV, spatial_dims], Conv[Conv.CONVTRANS, spatial_dims]
        drop = Dropout[Dropout.DROPOUT, spatial_dims]
        *levels, bottom = features

        def recalibration(channels: int, wanted: bool) -> nn.Module:
            return SqueezeExcitation(channels, reduction) if wanted else nn.Identity()

        self.settings = {"out_channels": out_channels, "features": list(features), "se": se}
        self.stride = 2**depth
        self.se_before_down = se != "skips"
        se_deep = se in ("skips", "encoder", "blocks")
        self.encoders = nn.ModuleList(
            conv(before, after, 3, padding=1)
            for before, after in zip([in_channels, *levels], levels, strict=False)
        )
        self.skips = nn.ModuleList(
            recalibration(width, se_deep or (se == "ends" and width == levels[-1])) for width in levels
        )
        self.downs = nn.ModuleList(
            nn.Sequential(conv(width, width, 2, stride=2), drop(rate))
            for width, rate in zip(levels, dropout, strict=True)
        )
        self.bottleneck = nn.Sequential(
            conv(levels[-1], bottom, 3, padding=1),
            recalibration(bottom, se_deep),
            Act["relu"](inplace=True),
        )
        self.ups = nn.ModuleList(
            up(below, width, 2, stride=2)
            for below, width in zip([bottom, *reversed(levels)], reversed(levels), strict=False)
        )
        self.drops = nn.ModuleList(drop(dropout[-1] if level < depth - 1 else 0.0) for level in range(depth))
        self.decoders = nn.ModuleList(conv(width, width, 3, padding=1) for width in reversed(levels))
        self.recalibrations = nn.ModuleList(
            recalibration(width, se == "blocks") for width in reversed(levels)
        )
        self.end = recalibration(levels[0], se == "ends")
        self.head = conv(levels[0], out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: in shape (batch, in_channels, spatial_1, spatial_2[, spatial_3]), each spatial size a multiple
                of 2 ** (len(features) - 1).

        Returns:
            logits in shape (batch, out_channels, spatial_1, spatial_2[, spatial_3]).
        """
        skips = []
        for encode, recalibrate, down in zip(self.encoders, self.skips, self.downs, strict=True):
            x = torch.relu(encode(x))
            skips.append(recalibrate(x))
            x = down(skips[-1] if self.se_before_down else x)
        x = self.bottleneck(x)
        for up, drop, decode, recalibrate in zip(
            self.ups, self.drops, self.decoders, self.recalibrations, strict=True
        ):
            x = recalibrate(torch.relu(decode(drop(up(x) + skips.pop()))))
        return self.head(self.end(x))


def check_roi_size(roi_size: Sequence[int], network: nn.Module) -> None:
    """Check that a patch can be halved as often as the network halves it.

    Args:
        roi_size: patch size in voxels.
        network: with the number that sizes must be multiples of as its `stride`.

    Raises:
        InputError: a size is no multiple of it.
    """
    stride = int(network.stride)
    if any(size % stride for size in roi_size):
        levels = stride.bit_length() - 1
        raise InputError(
            f"roi_size: expected multiples of {stride} voxels, as the network halves patches {levels} times, "
            f"found {list(roi_size)}; with fewer `network_def#features` (and `dropout`) it takes smaller ones"
        )
