"""The encoder is frozen for some epochs of a training and then trained as well."""

from __future__ import annotations

from ignite.engine import Engine, Events
from torch import nn

__all__ = ["FreezeEncoder"]


class FreezeEncoder:
    """Freeze the encoder for the first epochs, also of a training that was interrupted and goes on.

    Args:
        network: an `EncoderUNetPlusPlus`.
        epochs: epochs in which it stays frozen; None for all.
    """

    def __init__(self, network: nn.Module, epochs: int | None = None) -> None:
        self.network = network
        self.epochs = epochs

    def attach(self, engine: Engine) -> None:
        """Connect to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        frozen = self.epochs is None or engine.state.epoch <= self.epochs
        if frozen != self.network.frozen:
            self.network.freeze_encoder(frozen)
