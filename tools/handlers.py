"""Small Ignite handlers that configurations attach to MONAI's engines."""

from __future__ import annotations

from ignite.engine import Engine, Events
from ignite.handlers import TimeLimit

__all__ = ["TimeLimitHandler"]


class TimeLimitHandler(TimeLimit):
    """Ignite's `TimeLimit` with the `attach` that MONAI's trainers call.

    Args:
        limit_sec: whole seconds from the start of training after which it ends, as if the epochs were over.
    """

    def attach(self, engine: Engine) -> None:
        """Check the time after every iteration of `engine`."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
