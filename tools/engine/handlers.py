"""Small Ignite handlers that configurations attach to MONAI's engines."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import monai.handlers
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping, TimeLimit
from monai.engines.utils import IterationEvents
from monai.handlers import EarlyStopHandler
from torch import Tensor


def metric_score(engine: Engine, metric: str) -> float:
    """A metric of an engine's state as a score, of which the highest is best; NaN is the worst.

    With NaN nothing compares: once it is the best so far, no other would be.

    Args:
        engine: an evaluator.
        metric: its name; behind a minus sign (`-val_loss`) that of one of which the lowest is best.
    """
    value = float(engine.state.metrics[metric.removeprefix("-")])
    if math.isnan(value):
        return -math.inf
    return -value if metric.startswith("-") else value


class EarlyStop(EarlyStopHandler):
    """MONAI's `EarlyStopHandler` on a metric, with a state that a checkpoint can hold.

    Args:
        patience: evaluations without improvement after which training ends.
        metric: name of the metric, see `metric_score`.
    """

    def __init__(self, patience: int, metric: str) -> None:
        super().__init__(patience, lambda engine: metric_score(engine, metric))

    def state_dict(self) -> dict[str, Any]:
        """Best score and evaluations since; needs `set_trainer`."""
        return dict(self._counter.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting from there."""
        self._counter.load_state_dict(state)

    @property
    def _counter(self) -> EarlyStopping:
        assert self._handler is not None, "needs `set_trainer`"
        return self._handler


class OutputAsList:
    """The output of an iteration as a list of one dictionary, `[{"image": ..., "loss": ...}]`.

    MONAI's handlers, and its `--tracking mlflow`, expect the list of a trainer that decollates the batch into
    images. That costs more than cutting the batch; a batch left whole is a list of one.
    """

    def attach(self, engine: Engine) -> None:
        """Wrap the output as soon as the model has been updated."""
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Wrap the output."""
        output: Any = [engine.state.output]
        engine.state.output = output


def blood_pairs(output: Sequence[Mapping[str, Any]]) -> tuple[list[Tensor], list[Tensor]]:
    """Predicted and true masks of blood, whatever its type, of an engine's output: what metrics take."""
    return [item["pred"] > 0 for item in output], [item["label"] > 0 for item in output]


class ValidationHandler(monai.handlers.ValidationHandler):
    """MONAI's `ValidationHandler`, and once more for what training ends with, unless it was just validated.

    Training ends between two validations when its time is over, or where `interval` does not divide epochs.
    """

    _validated: int | None = None  # iteration

    def attach(self, engine: Engine) -> None:
        """Validate during and after the training of `engine`."""
        super().attach(engine)
        engine.add_event_handler(Events.COMPLETED, self._at_the_end)

    def __call__(self, engine: Engine) -> None:
        """Validate."""
        self._validated = engine.state.iteration
        super().__call__(engine)

    def _at_the_end(self, engine: Engine) -> None:
        if engine.state.iteration != self._validated:
            # if it goes on later, then as if it had not ended here
            with torch.random.fork_rng(range(torch.cuda.device_count())):
                self(engine)


OUT_OF_TIME = "out of time"  # an engine's `should_terminate`, see `tools.engine.checkpoint.TrainingState`


class TimeLimitHandler(TimeLimit):
    """Ignite's `TimeLimit` with the `attach` that MONAI's trainers call, by the clock of the first process.

    Several processes must end after the same batch, or one would wait for the others for ever.

    Args:
        limit_sec: whole seconds from the start of training, also of one that goes on, after which it ends.
    """

    def attach(self, engine: Engine) -> None:
        """Check the time after iterations and epochs of `engine`."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._within_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._after_epoch)

    def __call__(self, engine: Engine) -> None:
        """End the training if the time is over."""
        if idist.broadcast(float(time.time() - self.start_time > self.limit_sec), src=0):
            self.logger.info("Reached the time limit of %d seconds, training ends", self.limit_sec)
            engine.terminate()
            engine.should_terminate = OUT_OF_TIME

    def _start(self) -> None:
        self.start_time = time.time()

    def _within_epoch(self, engine: Engine) -> None:
        # not after an epoch's last, or what follows were left out; processes ask each other only now and then
        iteration, length = engine.state.iteration, engine.state.epoch_length
        if length and iteration % length and (idist.get_world_size() == 1 or iteration % 20 == 0):
            self(engine)

    def _after_epoch(self, engine: Engine) -> None:
        if not engine.should_terminate and engine.state.epoch != engine.state.max_epochs:
            self(engine)
