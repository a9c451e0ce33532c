"""Every network of Li 2021's tables by its name: the U-Net family and the networks it was compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import segmentation_models_pytorch as smp
import torch
from monai.networks.nets import BasicUNet
from torch import nn
from torchvision.models.segmentation import fcn_resnet50

from scripts.pix2pix import Pix2Pix
from scripts.refinenet import RefineNet
from scripts.segnet import SegNet
from scripts.unet import DILATION_RATES, UNet
from tools.core.errors import InputError
from tools.engine.head_bias import expect_little

__all__ = ["COMPARATORS", "FAMILY", "make_network"]


class FCN(nn.Module):
    """torchvision's fully convolutional network on a ResNet-50, with random weights.

    Args:
        in_channels: channels of the slice.
        out_channels: channels of the logits.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1) -> None:
        super().__init__()
        self.stride = 8
        self.network = fcn_resnet50(weights=None, weights_backbone=None, num_classes=out_channels)
        self.network.backbone.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: in shape (batch, in_channels, height, width).

        Returns:
            logits in shape (batch, out_channels, height, width).
        """
        return self.network(x)["out"]


@dataclass(frozen=True)
class Options:
    """What a network can be asked for; see `make_network`."""

    in_channels: int
    out_channels: int
    features: int
    dropout: float
    activation: str
    encoder: str | None

    def unet(self, depth: int, **more: Any) -> nn.Module:
        """One of the U-Nets of the family."""
        return UNet(
            self.in_channels,
            self.out_channels,
            depth=depth,
            features=self.features,
            dropout=self.dropout,
            activation=self.activation,
            **more,
        )


def from_smp(kind: type[nn.Module]) -> Callable[[Options], nn.Module]:
    """Makes a network of segmentation-models-pytorch with random weights."""

    def make(o: Options) -> nn.Module:
        encoder = o.encoder or "resnet50"
        network = kind(encoder, encoder_weights=None, in_channels=o.in_channels, classes=o.out_channels)
        network.stride = 32
        if kind is smp.PSPNet:  # looks at the ResNet's first levels only, and keeps the others
            network.encoder.layer3 = network.encoder.layer4 = nn.Identity()
        return network

    return make


def plain_unet(o: Options) -> nn.Module:
    """The U-Net of Ronneberger 2015: five levels of two convolutions and ReLU, without normalisation; padded,
    so that the slice keeps its size."""
    widths = [o.features * 2**level for level in range(5)]
    network = BasicUNet(
        2, o.in_channels, o.out_channels, (*widths, o.features), ("relu", {"inplace": True}), cast(Any, None)
    )
    network.stride = 16
    return network


FAMILY: dict[str, Callable[[Options], nn.Module]] = {
    "unet10": lambda o: o.unet(5),
    "unet6": lambda o: o.unet(3),
    "unet6_dil": lambda o: o.unet(3, rates=DILATION_RATES),
    "pix2pix7": lambda o: Pix2Pix(o.in_channels, o.out_channels, features=o.features, dropout=o.dropout),
}
"""Generators; UNet6Flip and UNet6FlipD are unet6 and unet6_dil with two input channels."""

COMPARATORS: dict[str, Callable[[Options], nn.Module]] = {
    "deeplabv3plus": from_smp(smp.DeepLabV3Plus),
    "fcn": lambda o: FCN(o.in_channels, o.out_channels),
    "pspnet": from_smp(smp.PSPNet),
    "refinenet": lambda o: RefineNet(
        o.in_channels, o.out_channels, encoder=o.encoder or "resnet50", features=4 * o.features
    ),
    "segnet": lambda o: SegNet(o.in_channels, o.out_channels, features=o.features),
    "unet": plain_unet,
}
"""The networks of the paper's figure 14 and table II, from libraries where they have them, without
pre-trained weights. The paper names no backbone: a ResNet-50 where a network needs one."""


def make_network(
    name: str,
    in_channels: int = 1,
    features: int = 64,
    dropout: float = 0.0,
    encoder: str | None = None,
    out_channels: int = 1,
    activation: str = "relu",
) -> nn.Module:
    """A network for slices in shape (batch, in_channels, height, width) that gives logits of the same size.

    Its attribute `stride` is the number that heights and widths must be multiples of; `settings` says how to
    build it again. Untrained, it gives a lesion's probability of about
    `tools.engine.head_bias.FIRST_PROBABILITY` everywhere.

    Args:
        name: key of `FAMILY` or `COMPARATORS`.
        in_channels: 1, or 2 with the mirrored slice.
        features: channels after the first step of the family, SegNet and U-Net; a quarter of RefineNet's.
        dropout: noise of the family, see there.
        encoder: encoder of DeepLabV3+, PSPNet and RefineNet; None for their ResNet-50.
        out_channels: 1, the lesion; or the background and as many types.
        activation: `relu` or `leakyrelu`, of the U-Nets of the family.

    Raises:
        InputError: there is no such name.
    """
    networks = {**FAMILY, **COMPARATORS}
    if name not in networks:
        raise InputError(f"model: expected one of {', '.join(networks)}, found {name!r}")
    network = networks[name](Options(in_channels, out_channels, features, dropout, activation, encoder))
    network.settings = {
        "model": name,
        "features": features,
        "activation": activation,
        "encoder": encoder,
        "out_channels": out_channels,
    }
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    expect_little([layer for layer in layers if layer.out_channels == out_channels][-1].bias)
    return network
