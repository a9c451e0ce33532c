"""Weights and training states on disk: written in one step, loaded with one clear word when they can't be."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver
from torch import nn

from tools.errors import InputError

__all__ = ["BestWeights", "TrainingState", "require_weights"]

logger = logging.getLogger(__name__)


def require_weights(path: str | Path) -> None:
    """Check that a weights file exists before anything is loaded.

    Raises:
        InputError: there is no file at `path`.
    """
    if not Path(path).is_file():
        raise InputError(
            f"{path}: expected trained weights, found no such file: run `training` of the bundle first"
        )


class ReplacingSaver(DiskSaver):
    """Ignite's `DiskSaver`, which writes a new file and then renames it over the old one, in rank 0.

    Ignite removes the old file first, so that a failed write would leave none: here that does nothing.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(str(folder), atomic=True, create_dir=True, require_empty=False)

    def remove(self, filename: str) -> None:
        """Keep the file: the next one replaces it."""


class BestWeights(Checkpoint):
    """Keep the weights with the highest key metric of an evaluator, as a plain state_dict.

    MONAI's `CheckpointSaver` does the same, but not in one step: for a moment there are no weights on disk.

    Args:
        path: file of the weights.
        network: network, also one wrapped for several processes.
    """

    def __init__(self, path: str | Path, network: nn.Module) -> None:
        path = Path(path)
        super().__init__(
            {"model": network},
            ReplacingSaver(path.parent),
            score_function=lambda engine: engine.state.metrics[engine.state.key_metric_name],
            filename_pattern=path.name,
        )

    def attach(self, engine: Engine) -> None:
        """Compare after every run of the evaluator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)


class TrainingState:
    """Save all that an interrupted training needs to go on, and go on with it when the training starts again.

    Saved are the objects' state_dicts, the number of iterations and torch's random state: after every epoch,
    and within an epoch every few minutes if the sampler can go on from there. On a CPU the weights are then
    the same to the bit as those of a training that was never interrupted. The file is removed when training
    ends, so that the next one begins anew. Put it after the `ValidationHandler`.

    Args:
        path: file of the state.
        objects: what is saved; each has `state_dict` and `load_state_dict`, or is skipped (a DataLoader).
        settings: values that must be the same when training goes on.
        resume: go on from the file if there is one; False begins anew.
        minutes: least time between two savings within an epoch.

    Raises:
        InputError: when training starts, if the file belongs to a training with other settings.
    """

    def __init__(
        self,
        path: str | Path,
        objects: Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
        resume: bool = True,
        minutes: float = 5.0,
    ) -> None:
        self.path = Path(path)
        self.objects = {name: part for name, part in objects.items() if hasattr(part, "state_dict")}
        # as JSON has them: what comes from a file must compare equal to what comes from a configuration
        self.settings = json.loads(json.dumps(dict(settings or {}), default=str))
        self.resume = resume
        self.seconds = 60 * minutes
        self.within_epochs = all(hasattr(part, "state_dict") for part in objects.values())
        self._saved_at = time.monotonic()

    def attach(self, engine: Engine) -> None:
        """Connect to a trainer."""
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        engine.add_event_handler(Events.COMPLETED, self.remove)
        if self.within_epochs:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._save_if_due)

    def save(self, engine: Engine) -> None:
        """Write the state, unless the training is about to end."""
        if engine.should_terminate:
            return
        state = {
            "settings": self.settings,
            "epoch_length": engine.state.epoch_length,
            "iteration": engine.state.iteration,
            "objects": {name: _plain_module(part).state_dict() for name, part in self.objects.items()},
            "random": {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()},
        }
        if idist.get_rank() == 0:
            ReplacingSaver(self.path.parent)(state, self.path.name)
        self._saved_at = time.monotonic()

    def load(self, engine: Engine) -> None:
        """Put everything back where the state was saved, if there is one and it is wanted."""
        if not self.resume or not self.path.is_file():
            return
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        now = {**self.settings, "batches per epoch": engine.state.epoch_length}
        then = {**state["settings"], "batches per epoch": state["epoch_length"]}
        changed = [key for key in now if now[key] != then.get(key)]
        if changed:
            raise InputError(
                f"{self.path}: expected the state of an interrupted training with the same settings, found "
                f"another {', '.join(changed)}; go on with those settings, or begin anew with --resume false"
            )
        for name, part in self.objects.items():
            _plain_module(part).load_state_dict(state["objects"][name])
        engine.state.iteration = state["iteration"]
        engine.state.epoch = state["iteration"] // state["epoch_length"]
        if idist.get_rank() == 0:
            torch.set_rng_state(state["random"]["cpu"])
            if len(state["random"]["cuda"]) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all(state["random"]["cuda"])
        else:  # only rank 0's random state was saved: the others need one that is not its
            torch.manual_seed(torch.initial_seed() + state["iteration"])
        logger.warning(
            "%s: training goes on after %d iterations (epoch %d); --resume false begins anew",
            self.path,
            engine.state.iteration,
            engine.state.epoch + 1,
        )

    def remove(self, engine: Engine | None = None) -> None:
        """The training has ended: nothing is left to go on with."""
        if idist.get_rank() == 0:
            self.path.unlink(missing_ok=True)

    def _save_if_due(self, engine: Engine) -> None:
        # the last iteration of an epoch is saved after the validation
        if (
            engine.state.iteration % engine.state.epoch_length
            and time.monotonic() - self._saved_at > self.seconds
        ):
            self.save(engine)


def _plain_module(part: Any) -> Any:
    """The network inside DistributedDataParallel."""
    return part.module if isinstance(part, nn.parallel.DistributedDataParallel) else part
