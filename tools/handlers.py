"""Small Ignite handlers that configurations attach to MONAI's engines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import TimeLimit
from monai.handlers import EarlyStopHandler

__all__ = ["EarlyStop", "TimeLimitHandler"]


class EarlyStop(EarlyStopHandler):
    """MONAI's `EarlyStopHandler` on a metric, with a state that a checkpoint can hold.

    Args:
        patience: evaluations without improvement after which training ends.
        metric: name of the metric in the evaluator's state, higher is better.
    """

    def __init__(self, patience: int, metric: str) -> None:
        super().__init__(patience, lambda engine: engine.state.metrics[metric])

    def state_dict(self) -> dict[str, Any]:
        """Best score and evaluations since; needs `set_trainer`."""
        return dict(self._handler.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting from there."""
        self._handler.load_state_dict(state)


class TimeLimitHandler(TimeLimit):
    """Ignite's `TimeLimit` with the `attach` that MONAI's trainers call.

    Args:
        limit_sec: whole seconds from the start of training after which it ends, as if the epochs were over.
    """

    def attach(self, engine: Engine) -> None:
        """Check the time after every iteration of `engine`."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
