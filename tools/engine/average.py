"""Weights averaged over the steps of a training, to validate and to keep; training goes on with its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class AveragedWeights:
    """Validate, and so keep, an exponential moving average of a network's weights and batch statistics.

    The weights of a step swing with the heads that it has seen; their average does not. Where Ignite's
    `EMAHandler` validates a copy of the network, this one swaps the values for the time of a validation, so
    that whoever holds the network (inferer, `BestWeights`) needs to know nothing of it. Put it before the
    `ValidationHandler`, and its `state_dict` beside the network's in the saved state.

    Args:
        network: its values are swapped in place.
        validator: evaluator during whose runs the network has the averaged values.
        decay: share of the average that a step leaves as it is; at first less, `(1 + n) / (10 + n)`.

    Raises:
        ValueError: the decay is not from 0 to below 1.
    """

    def __init__(self, network: nn.Module, validator: Engine, decay: float = 0.997) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay: expected a number from 0 to below 1, found {decay}")
        self.network = network
        self.settings = {"decay": decay}  # see `tools.engine.checkpoint.HasSettings`
        self.average = AveragedModel(network, multi_avg_fn=self._update, use_buffers=True)
        validator.add_event_handler(Events.STARTED, self.swap)
        validator.add_event_handler(Events.COMPLETED, self.swap)

    def attach(self, engine: Engine) -> None:
        """Average after each step of a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.update)

    def update(self) -> None:
        """Take the network's values into the average."""
        self.average.update_parameters(self.network)

    def swap(self) -> None:
        """Give the network the averaged values, or, called again, its own ones back."""
        pairs = zip(_values(self.network), _values(self.average.module), strict=True)
        with torch.no_grad():
            for own, averaged in pairs:
                kept = own.clone()
                own.copy_(averaged)
                averaged.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        """The average, and of how many steps it is."""
        return self.average.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with it."""
        self.average.load_state_dict(state)

    def _update(self, averaged: Sequence[Tensor], current: Sequence[Tensor], steps: Tensor | int) -> None:
        decay = min(self.settings["decay"], (1 + int(steps)) / (10 + int(steps)))
        for old, new in zip(averaged, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new.to(old.dtype), 1 - decay)
            else:
                old.copy_(new)


def _values(network: nn.Module) -> Iterable[Tensor]:
    yield from network.parameters()
    yield from network.buffers()
