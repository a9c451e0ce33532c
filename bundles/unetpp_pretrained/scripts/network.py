"""UNet++ whose encoder is a classification network trained on ImageNet (Li 2021: UNet6Incep and UNet6Vgg)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder
from segmentation_models_pytorch.encoders import get_encoder
from torch import nn

from scripts.encoder_sources import ENCODERS
from tools.core.errors import InputError
from tools.core.flags import is_true
from tools.engine.head_bias import expect_little

__all__ = ["EncoderUNetPlusPlus", "parameter_groups"]

# which of the given channels becomes red, green and blue
CHANNELS = {1: (0, 0, 0), 2: (0, 0, 1), 3: (0, 1, 2)}


class EncoderUNetPlusPlus(nn.Module):
    """UNet++ (Zhou 2018) on an encoder of segmentation_models_pytorch.

    The classifier of the encoder is replaced by a single convolution that separates encoder and decoder: 3x3,
    512 channels and ReLU as in TernausNet (Iglovikov 2018), whose words Li 2021 uses. Encoder, decoder blocks
    and their widths are the library's; the nested skips are run here, because the library's decoder gives no
    intermediate outputs for deep supervision, can't be scripted, and holds a centre block for VGG that it
    never uses.

    The input is one to three channels in [0, 1] and becomes the three channels of ImageNet: one channel three
    times, as in the paper; two channels (slice and mirror image) as slice, slice, mirror image; three as they
    are. They are then normalised with the mean and deviation that the encoder was trained with.

    Args:
        encoder: "inceptionv4", "inceptionresnetv2", "vgg11", "vgg13", "vgg16", "vgg19", a VGG with batch
            normalisation, such as "vgg16_bn", or "efficientnet_lite0".
        in_channels: channels of the input, 1 to 3.
        out_channels: channels of the logits.
        encoder_depth: stages of the encoder, 3 to 5 (the whole). The size of the input must be a multiple of
            2 ** encoder_depth.
        bridge_channels: channels of the convolution between encoder and decoder.
        decoder_channels: channels of the last node of each level, the deepest first; their number is
            `encoder_depth`. The nodes between have as many channels as the encoder has at their level.
        deep_supervision: also return the logits of the shallower U-Nets within, in training.
        frozen: keep the encoder as it is, running statistics of batch normalisation included.

    Raises:
        InputError: one of the arguments is not among the values above.

    Example:
        >>> network = EncoderUNetPlusPlus("vgg11").eval()
        >>> network(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 1, 64, 64])
    """

    def __init__(
        self,
        encoder: str = "inceptionv4",
        in_channels: int = 1,
        out_channels: int = 1,
        encoder_depth: int = 5,
        bridge_channels: int = 512,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        deep_supervision: bool = False,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        if encoder not in ENCODERS:
            raise InputError(f"encoder: expected one of {', '.join(ENCODERS)}, found {encoder!r}")
        if in_channels not in CHANNELS:
            raise InputError(f"in_channels: expected 1, 2 or 3, found {in_channels}")
        depths = (5,) if encoder == "inceptionresnetv2" else (3, 4, 5)
        if encoder_depth not in depths:
            raise InputError(f"encoder_depth: expected one of {depths} for {encoder}, found {encoder_depth}")
        if len(decoder_channels) != encoder_depth:
            raise InputError(
                f"decoder_channels: expected {encoder_depth}, one for each stage of the encoder, found "
                f"{tuple(decoder_channels)}"
            )
        deep_supervision = is_true(deep_supervision, "deep_supervision")
        self.settings = {
            "encoder": encoder,
            "encoder_depth": encoder_depth,
            "bridge_channels": bridge_channels,
            "decoder_channels": list(decoder_channels),
            "deep_supervision": deep_supervision,
            "out_channels": out_channels,
        }
        self.encoder_name = encoder
        self.stride = 2**encoder_depth
        source = ENCODERS[encoder]
        self.register_buffer("order", torch.tensor(CHANNELS[in_channels]), persistent=False)
        self.register_buffer("mean", torch.tensor(source.mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(source.std).reshape(1, 3, 1, 1), persistent=False)

        self.encoder = get_encoder(source.library_name or encoder, depth=encoder_depth, weights=None)
        _drop_unused_stages(self.encoder, encoder_depth)
        *skips, deepest = self.encoder.out_channels
        self.bridge = nn.Sequential(nn.Conv2d(deepest, bridge_channels, 3, padding=1), nn.ReLU(inplace=True))
        decoder = UnetPlusPlusDecoder([*skips, bridge_channels], decoder_channels, n_blocks=encoder_depth)
        levels = encoder_depth - 1
        # the paper's X^{i,j}: column j of level i; the library counts levels from the deepest
        self.columns = nn.ModuleList(
            nn.ModuleList(
                decoder.blocks[f"x_{levels - i - j}_{levels - 1 - i}"] for i in range(levels + 1 - j)
            )
            for j in range(1, levels + 1)
        )
        self.last = decoder.blocks[f"x_0_{levels}"]
        self.head = nn.Conv2d(decoder_channels[-1], out_channels, 1)
        self.deep_supervision = deep_supervision
        self.heads = nn.ModuleList()
        if deep_supervision:
            shallower = [column[0].out_channels for column in self.columns][:-1]
            self.heads.extend(nn.Conv2d(width, out_channels, 1) for width in shallower)
        for part in (self.bridge, self.columns, self.last):
            initialize_decoder(part)
        for part in (self.head, *self.heads):
            initialize_head(part)
            expect_little(part.bias)
        self.frozen = False
        self.freeze_encoder(frozen)

    def freeze_encoder(self, frozen: bool = True) -> None:
        """Keep the encoder as it is from now on, running statistics included, or let it be trained."""
        self.frozen = frozen
        self.encoder.requires_grad_(not frozen)
        self.encoder.train(self.training and not frozen)

    def train(self, mode: bool = True) -> EncoderUNetPlusPlus:
        """As of any module, but a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, x: torch.Tensor):  # TorchScript infers what it returns
        """
        Args:
            x: in shape (batch, in_channels, height, width), in [0, 1], sizes multiples of 2 ** encoder_depth.

        Returns:
            logits in shape (batch, out_channels, height, width). With deep supervision and in training mode
            a list: these, then those of the shallower U-Nets, the deepest of them first, at half the size.

        Raises:
            InputError: a size is no such multiple.
        """
        if not torch.jit.is_scripting():
            self._check_size(x.shape[2], x.shape[3])
        x = (x.index_select(1, self.order) - self.mean) / self.std
        levels = self.encoder(x)[1:]
        levels[-1] = self.bridge(levels[-1])
        nodes = levels  # the preceding column
        dense = levels[:-1]  # all columns so far, the last first
        finest = [levels[0]]
        for column in self.columns:
            new = []
            for i, block in enumerate(column):
                new.append(block(nodes[i + 1], dense[i]))
                dense[i] = torch.cat([new[i], dense[i]], 1)
            nodes = new
            finest.append(nodes[0])
        logits = self.head(self.last(finest[-1]))
        if not torch.jit.is_scripting() and self.deep_supervision and self.training:
            shallower = [head(node) for head, node in zip(self.heads, finest[1:-1], strict=True)]
            return [logits, *reversed(shallower)]
        return logits

    def _check_size(self, height: int, width: int) -> None:
        if height % self.stride or width % self.stride:
            raise InputError(f"size: expected multiples of {self.stride} pixels, found {height} x {width}")


def _drop_unused_stages(encoder: nn.Module, depth: int) -> None:
    """Leave out layers that follow the last output: they'd be computed, saved and never trained."""
    if hasattr(encoder, "model"):  # of timm, which counts from 1
        encoder.model.blocks = encoder.model.blocks[: max(encoder.model._stage_out_idx)]
    elif depth < 5:
        taps = depth + (len(encoder._out_indexes) == 6)  # VGG also gives features of full resolution
        encoder.features = encoder.features[: encoder._out_indexes[taps - 1] + 1]


def parameter_groups(
    network: nn.Module, encoder_learning_rate: float, freeze_epochs: int | None
) -> list[dict[str, Any]]:
    """Parameters for an optimiser: those of the decoder, and the encoder's if it will ever be trained.

    Args:
        network: an `EncoderUNetPlusPlus`.
        encoder_learning_rate: learning rate of the encoder; the optimiser's own is the decoder's.
        freeze_epochs: epochs before the encoder is trained as well; None for never.
    """
    encoder = list(network.encoder.parameters())
    ids = {id(parameter) for parameter in encoder}
    groups: list[dict[str, Any]] = [{"params": [p for p in network.parameters() if id(p) not in ids]}]
    if freeze_epochs is not None:
        groups.append({"params": encoder, "lr": encoder_learning_rate})
    return groups
