"""A 2D network on volumes: all slices, many at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor
from tqdm import tqdm

from tools.core.tensors import finite, plain, with_metadata_of
from tools.engine.memory import FittingBatches


class SliceProbabilityInferer(Inferer):
    """Probabilities of every slice of a volume: of one channel the sigmoid, of more the softmax.

    The postprocessing must do neither again.

    Args:
        sw_batch_size: slices per call of the network.
        progress: show a progress bar.

    Example:
        >>> inferer = SliceProbabilityInferer(16)
        >>> inferer(torch.rand(1, 2, 64, 64, 20), network).shape  # network: (B, 2, H, W) -> (B, 1, H, W)
        torch.Size([1, 1, 64, 64, 20])
    """

    def __init__(self, sw_batch_size: int = 8, progress: bool = False) -> None:
        super().__init__()
        self.sw_batch_size = sw_batch_size
        self.fitting = FittingBatches(sw_batch_size)
        self.progress = progress

    @torch.no_grad()
    def __call__(
        self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any
    ) -> Tensor | MetaTensor:
        """
        Args:
            inputs: in shape (batch, channels, X, Y, Z), or (batch, channels, X, Y).
            network: slices (n, channels, X, Y) -> logits (n, classes, X, Y).
            args, kwargs: passed on to the network.

        Returns:
            probabilities, float32, in shape (batch, classes, X, Y[, Z]), on the device of the input, or where
            memory lasted (`tools.engine.memory`); a MetaTensor if the input is one.

        Raises:
            InputError: the network gives NaN or infinite values.
        """
        image = plain(inputs)
        flat = image.ndim == 4
        volumes = image[..., None] if flat else image
        batch, depth = volumes.shape[0], volumes.shape[-1]
        slices = volumes.movedim(-1, 1).flatten(0, 1)

        def call(part: Tensor) -> Tensor:
            return network(part, *args, **kwargs)

        def infer(count: int, device: torch.device) -> Tensor:
            parts = tqdm(self.split(slices, count), desc="slices", disable=not self.progress)
            made = (self.logits(call, part.to(device), count) for part in parts)
            return torch.cat([probabilities(logits.float()) for logits in made])

        result = self.fitting.run(infer, network, image.device)
        result = result.unflatten(0, (batch, depth)).movedim(1, -1)
        return with_metadata_of(inputs, finite(result[..., 0] if flat else result))

    def split(self, slices: Tensor, count: int) -> Sequence[Tensor]:
        """The parts of the slices that are predicted one after another."""
        return slices.split(count)

    def logits(self, network: Callable[[Tensor], Tensor], slices: Tensor, count: int) -> Tensor:
        """Of one of these parts, for a network that takes `count` pictures at a time."""
        return network(slices)


def probabilities(logits: Tensor) -> Tensor:
    """Of one channel the sigmoid, of more the softmax."""
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)
