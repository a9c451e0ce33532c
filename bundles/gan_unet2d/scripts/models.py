"""Every network of Li 2021's tables by its name: the U-Net family and the networks it was compared with."""

from __future__ import annotations

import math
from collections.abc import Callable

import segmentation_models_pytorch as smp
import torch
from torch import nn
from torchvision.models.segmentation import fcn_resnet50

from scripts.pix2pix import Pix2Pix
from scripts.refinenet import RefineNet
from scripts.segnet import SegNet
from scripts.unet import DILATION_RATES, UNet
from tools.errors import InputError

__all__ = ["COMPARATORS", "FAMILY", "make_network"]

FIRST_PROBABILITY = 0.02
"""Of a lesion, before training. Lesions cover a percent of a slice: from one half everywhere the Dice loss,
whose denominator is then all background, takes hundreds of steps to get anywhere."""


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


def from_smp(kind: type[nn.Module], encoder: str) -> Callable[..., nn.Module]:
    """Makes a network of segmentation-models-pytorch with random weights."""

    def make(in_channels: int, features: int, dropout: float, other: str | None) -> nn.Module:
        network = kind(other or encoder, encoder_weights=None, in_channels=in_channels, classes=1)
        network.stride = 32
        if kind is smp.PSPNet:  # looks at the ResNet's first levels only, and keeps the others
            network.encoder.layer3 = network.encoder.layer4 = nn.Identity()
        return network

    return make


FAMILY: dict[str, Callable[..., nn.Module]] = {
    "unet10": lambda n, features, dropout, _: UNet(n, depth=5, features=features, dropout=dropout),
    "unet6": lambda n, features, dropout, _: UNet(n, depth=3, features=features, dropout=dropout),
    "unet6_dil": lambda n, features, dropout, _: UNet(
        n, depth=3, features=features, rates=DILATION_RATES, dropout=dropout
    ),
    "pix2pix7": lambda n, features, dropout, _: Pix2Pix(n, features=features, dropout=dropout),
}
"""Generators; UNet6Flip and UNet6FlipD are unet6 and unet6_dil with two input channels."""

COMPARATORS: dict[str, Callable[..., nn.Module]] = {
    "deeplabv3plus": from_smp(smp.DeepLabV3Plus, "resnet50"),
    "fcn": lambda n, features, dropout, encoder: FCN(n),
    "pspnet": from_smp(smp.PSPNet, "resnet50"),
    "refinenet": lambda n, features, dropout, encoder: RefineNet(
        n, encoder=encoder or "resnet50", features=4 * features
    ),
    "segnet": lambda n, features, dropout, _: SegNet(n, features=features),
    "unet": from_smp(smp.Unet, "resnet34"),
}
"""The networks of the paper's figure 14 and table II, from libraries where they have them, without
pre-trained weights."""


def make_network(
    name: str, in_channels: int = 1, features: int = 64, dropout: float = 0.0, encoder: str | None = None
) -> nn.Module:
    """A network for slices in shape (batch, in_channels, height, width) that gives one channel of logits.

    Its attribute `stride` is the number that heights and widths must be multiples of. Untrained, it gives a
    lesion's probability of about `FIRST_PROBABILITY` everywhere.

    Args:
        name: key of `FAMILY` or `COMPARATORS`.
        in_channels: 1, or 2 with the mirrored slice.
        features: channels after the first step of the family and of SegNet; a quarter of RefineNet's.
        dropout: noise of the family, see there.
        encoder: encoder of DeepLabV3+, PSPNet, RefineNet and U-Net; None for the ResNet-50 of the first three
            and the ResNet-34 of the last.

    Raises:
        InputError: there is no such name.
    """
    networks = {**FAMILY, **COMPARATORS}
    if name not in networks:
        raise InputError(f"model: expected one of {', '.join(networks)}, found {name!r}")
    network = networks[name](in_channels, features, dropout, encoder)
    _expect_little(network)
    return network


def _expect_little(network: nn.Module) -> None:
    """Let the output begin at `FIRST_PROBABILITY`: the last layer that gives one channel gets that bias."""
    heads = [
        m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d) and m.out_channels == 1
    ]
    nn.init.constant_(heads[-1].bias, math.log(FIRST_PROBABILITY / (1 - FIRST_PROBABILITY)))
