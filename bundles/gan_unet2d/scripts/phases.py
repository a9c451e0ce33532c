"""When pre-training is over and adversarial training begins, and when that is over."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint

from tools.engine.handlers import metric_score

__all__ = ["Phases"]

logger = logging.getLogger(__name__)


class Phases:
    """Pre-training with the Dice loss until it has converged, then adversarial training until that has.

    A phase has converged when a metric of the validation has not improved `patience` times in a row. The best
    weights that are kept are those of the last phase: a generator that was only pre-trained is another model.

    Put it among the evaluator's handlers after `best_weights`, and call `set_trainer` before training.

    Args:
        adversarial: go on with adversarial training; False ends the training with the pre-training.
        pretrain_epochs: most epochs of the pre-training; 0 begins with adversarial training.
        pretrain_patience: validations without improvement after which the pre-training has converged.
        patience: validations without improvement after which the training ends.
        metric: name of the metric in the evaluator's state, higher is better.
        best_weights: checkpoint to begin again with the second phase.
    """

    def __init__(
        self,
        adversarial: bool,
        pretrain_epochs: int,
        pretrain_patience: int,
        patience: int,
        metric: str,
        best_weights: Checkpoint | None = None,
    ) -> None:
        self.adversarial = adversarial
        self.pretrain_epochs, self.pretrain_patience = pretrain_epochs, pretrain_patience
        self.patience = patience
        self.metric = metric
        self.best_weights = best_weights
        self.against_discriminator = adversarial and pretrain_epochs == 0
        self.best: float | None = None
        self.waited = 0
        self._trainer: Engine | None = None

    def set_trainer(self, trainer: Engine) -> None:
        """The engine whose epochs are counted, and that ends."""
        self._trainer = trainer

    def attach(self, engine: Engine) -> None:
        """Look at the metric after every run of an evaluator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, evaluator: Engine) -> None:
        """Compare, and begin the next phase or end the training when it is time."""
        score = metric_score(evaluator, self.metric)
        if self.best is None or score > self.best:
            self.best, self.waited = score, 0
        else:
            self.waited += 1
        epoch = self._trainer.state.iteration // self._trainer.state.epoch_length  # that are complete
        if self.against_discriminator or not self.adversarial:
            if self.waited >= self.patience:
                logger.info(
                    "no better %s than %.4f: training ends after epoch %d", self.metric, self.best, epoch
                )
                self._trainer.terminate()
        elif self.waited >= self.pretrain_patience or epoch >= self.pretrain_epochs:
            logger.info("adversarial training begins after epoch %d, %s %.4f", epoch, self.metric, self.best)
            self.against_discriminator = True
            self.best, self.waited = None, 0
            if self.best_weights is not None:
                self.best_weights.reset()

    def state_dict(self) -> dict[str, Any]:
        """The phase, its best score and validations since."""
        return {"against": self.against_discriminator, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.against_discriminator = state["against"]
        self.best, self.waited = state["best"], state["waited"]
