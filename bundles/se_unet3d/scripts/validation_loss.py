"""The loss on patches of the validation cases, by which both papers choose the epoch."""

from __future__ import annotations

from collections.abc import Callable

import ignite.distributed as idist
from ignite.engine import Engine, Events
from monai.networks.utils import eval_mode
from torch import Tensor, nn

from tools.core.errors import InputError
from tools.sampling.sampler import RoiPatchSampler

__all__ = ["SELECT_BY", "PatchLoss", "selecting_metric"]

SELECT_BY = {"loss": "-val_loss", "dice": "val_mean_dice"}
"""What the best epoch and early stopping look at; behind a minus sign the lowest value is best."""


def selecting_metric(select_by: str) -> str:
    """Name of the metric, see `SELECT_BY`.

    Raises:
        InputError: it is neither "loss" nor "dice".
    """
    if select_by not in SELECT_BY:
        raise InputError(f"select_by: expected loss or dice, found {select_by!r}")
    return SELECT_BY[select_by]


class PatchLoss:
    """Leave the mean loss on patches in the evaluator's metrics as `val_loss`, after each of its runs.

    The patches are drawn as those of the training are, once and for all: losses of different epochs are of
    the same batches. Attach it before what reads the metric.

    Args:
        network: which is trained, not wrapped for several processes.
        loss: of logits and labels.
        make_patches: makes the sampler of the patches; called when they are first needed with `share`, what
            this process draws (`tools.sampling.settings.ProcessShare`).
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        make_patches: Callable[..., RoiPatchSampler],
    ) -> None:
        self.network, self.loss, self.make_patches = network, loss, make_patches
        self._patches: RoiPatchSampler | None = None

    def attach(self, engine: Engine) -> None:
        """Compute it after every run of the evaluator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Compute the loss."""
        if self._patches is None:
            share = {"rank": idist.get_rank(), "world_size": idist.get_world_size()}
            self._patches = self.make_patches(share=share)
            self._start = self._patches.state_dict()
        self._patches.load_state_dict(self._start)  # every time the same batches, also of a resumed training
        total, number = 0.0, 0.0
        with eval_mode(self.network):
            for batch in self._patches:
                value = self.loss(self.network(batch["image"]), batch["label"])
                total += float(value) * len(batch["image"])
                number += len(batch["image"])
        if idist.get_world_size() > 1:
            total, number = (float(idist.all_reduce(float(value))) for value in (total, number))
        engine.state.metrics["val_loss"] = total / max(1.0, number)
