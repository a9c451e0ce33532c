"""Weights and training states on disk: written in one step, loaded with one clear word when they can't be."""

from __future__ import annotations

import glob
import hashlib
import io
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import ignite.distributed as idist
import torch
from filelock import BaseFileLock
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint
from ignite.handlers.checkpoint import BaseSaveHandler
from torch import Tensor, nn

from tools.core.errors import InputError
from tools.core.files import remove_partial_files, write_bytes, write_text
from tools.core.flags import is_true
from tools.core.lock import lock_folder, release
from tools.data.cache import transform_hash
from tools.engine.handlers import OUT_OF_TIME, metric_score

STATE = {"settings", "epoch_length", "iteration", "objects", "random"}  # keys of an interrupted training's

logger = logging.getLogger(__name__)


@runtime_checkable
class HasSettings(Protocol):
    """An object that says with which settings it was made, such as a network or a sampler.

    A network's stand beside its weights; an interrupted training goes on with the same ones only.
    """

    settings: Mapping[str, Any]


def require_weights(
    path: str | Path, settings: Mapping[str, Any] | None = None, network: nn.Module | None = None
) -> None:
    """Check, before anything is loaded, that a weights file exists and suits what the network will be shown.

    Args:
        path: of the weights.
        settings: values that must be the training's, as far as the file beside the weights states them.
        network: one that must take the weights, and whose own settings must be the training's.

    Raises:
        InputError: there is no file at `path`, it holds no weights or another network's, or it was trained
            with another value of a setting.
    """
    if not Path(path).is_file():
        raise InputError(
            f"{path}: expected trained weights, found no such file: run `training` of the bundle first"
        )
    known, wanted = weights_settings(path), _beside(settings, network)
    for name in wanted:
        if name in known and known[name] != wanted[name]:
            raise InputError(
                f"{path}: expected {name} {known[name]}, with which these weights were trained, found "
                f"{wanted[name]}"
            )
    weights = read_weights(path)
    if network is not None:
        _check_fit(_plain_module(network), weights, path)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """A file's weights by name, on the CPU; also those that lie below the key `model` or `state_dict`.

    Raises:
        InputError: no such file, or one that holds anything else.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: expected weights, found no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the unpickler or the zip reader raise
        raise InputError(
            f"{path}: expected weights, found a file that torch can't read ({type(error).__name__})"
        ) from error
    if isinstance(content, dict):
        content = next((content[key] for key in ("model", "state_dict") if key in content), content)
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected weights by name, found {type(content).__name__}")
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise InputError(f"{path}: expected weights by name, found {type(value).__name__} under {name!r}")
    return content


def load_weights(network: nn.Module, path: str | Path) -> dict[str, Tensor]:
    """Load a file's weights into a network: each of them, and nothing left out; returned as they lie there.

    Raises:
        InputError: see `read_weights`; also for weights of another network.
    """
    weights = read_weights(path)
    _check_fit(network, weights, path)
    network.load_state_dict(weights)
    return weights


def _check_fit(network: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Raise `InputError` unless each key of the network has a tensor of its shape, and none is left over."""
    keys = network.state_dict()
    fit = sum(name in weights and weights[name].shape == value.shape for name, value in keys.items())
    if not fit == len(keys) == len(weights):
        raise InputError(
            f"{path}: expected weights of {type(network).__name__} as it is configured ({len(keys)} keys), "
            f"found {len(weights)} keys, of which {fit} fit"
        )


def weights_settings(
    paths: str | Path | Sequence[str | Path], otherwise: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What weights were trained with: `model.json` beside `model.pt`; empty where there is no such file.

    Args:
        paths: a weights file, a pattern, or a list of either: the members of an ensemble, of which the first
            counts, since `require_weights` finds any that differs.
        otherwise: what to say where there are no weights at `paths`. A published bundle says here what its
            own were trained with, for those who load them from another folder.

    Raises:
        InputError: the file beside the weights is no JSON object.
    """
    entries = [paths] if isinstance(paths, str | Path) else list(paths)
    found = [file for entry in entries for file in matching_files(entry)]
    if not found and otherwise is not None:
        return dict(otherwise)
    beside = Path([*found, *entries][0]).with_suffix(".json") if entries else Path()
    if not beside.is_file():
        return {}
    try:
        settings = json.loads(beside.read_text())
    except ValueError as error:
        raise InputError(f"{beside}: expected JSON, found {error}") from error
    if not isinstance(settings, dict):
        raise InputError(f"{beside}: expected settings by name, found {type(settings).__name__}")
    return settings


def matching_files(pattern: str | Path) -> list[Path]:
    """The file of this name, or those that a pattern such as `folds/*/model.pt` finds, by their names."""
    found = [pattern] if Path(pattern).is_file() else sorted(glob.glob(str(pattern), recursive=True))
    return [Path(file) for file in found if Path(file).is_file()]


def _beside(settings: Mapping[str, Any] | None, network: nn.Module | None) -> dict[str, Any]:
    """What stands beside weights: the settings, and those of the network, if it has any."""
    network = _plain_module(network)
    return _as_json({**(settings or {}), **(network.settings if isinstance(network, HasSettings) else {})})


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has them: what comes from a file must compare equal to what comes from a configuration.

    A module, such as a loss, becomes a hash of its class and arguments; the words true and false booleans.
    """

    def plain(value: Any) -> str:
        return transform_hash([value]).decode() if isinstance(value, nn.Module) else str(value)

    flags = {"true": True, "false": False}
    given = json.loads(json.dumps(dict(settings), default=plain))
    return {
        key: flags.get(value.lower(), value) if isinstance(value, str) else value
        for key, value in given.items()
    }


def _made_with(name: str, part: Any) -> dict[str, Any]:
    """What one of a training's parts was made with: its settings, an optimizer's, or a network's layers."""
    part = _plain_module(part)
    if isinstance(part, torch.optim.Optimizer):
        groups = [{k: v for k, v in group.items() if k != "params"} for group in part.param_groups]
        return {name: [type(part).__name__, groups]}
    if isinstance(part, nn.Module):
        return {name: hashlib.blake2b(str(part).encode(), digest_size=8).hexdigest()}
    if isinstance(part, HasSettings):
        return {f"{name} {key}": value for key, value in part.settings.items()}
    return {}


class ReplacingSaver(BaseSaveHandler):
    """Saves into a folder in rank 0 as Ignite's `DiskSaver` does, but each file in one step over the old one.

    Ignite removes the old file first, so that a failed write would leave none: here that does nothing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def __call__(
        self, checkpoint: Mapping[str, Any], filename: str, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Write the file."""
        if idist.get_rank() == 0:
            content = io.BytesIO()  # torch's own writer does not say that a disk is full
            torch.save(checkpoint, content)
            write_bytes(self.folder / filename, content.getvalue())

    def remove(self, filename: str) -> None:
        """Keep the file: the next one replaces it."""


class BestWeights(Checkpoint):
    """Keep the weights with the best metric of an evaluator, as a plain state_dict.

    Unlike MONAI's `CheckpointSaver`, in one step: there are weights on disk at any moment. Of those that came
    with the bundle `original.pt` becomes a copy before they are replaced.

    Args:
        path: file of the weights.
        network: network, also one wrapped for several processes.
        settings: what the network was shown, written beside the weights with the network's own
            (`model.json`).
        metric: see `tools.engine.handlers.metric_score`; None for the evaluator's key metric.
    """

    def __init__(
        self,
        path: str | Path,
        network: nn.Module,
        settings: Mapping[str, Any] | None = None,
        metric: str | None = None,
    ) -> None:
        self.path = Path(path)
        self._note = _beside(settings, network)

        def score(engine: Engine) -> float:
            return metric_score(engine, metric or vars(engine.state)["key_metric_name"])

        saver = ReplacingSaver(self.path.parent)
        super().__init__({"model": network}, saver, score_function=score, filename_pattern=self.path.name)

    def __call__(self, engine: Engine) -> None:
        """Save if this is the best so far."""
        if idist.get_rank() == 0 and weights_settings(self.path).get("shipped"):
            self._keep_shipped()
        super().__call__(engine)
        if idist.get_rank() == 0 and self._note and weights_settings(self.path) != self._note:
            write_text(self.path.with_suffix(".json"), json.dumps(self._note, indent=2) + "\n")

    def _keep_shipped(self) -> None:
        # copied, not moved: until the new weights are written, these are the ones to use. A copy that is
        # there stays: a kill may have come between new weights and what is written beside them
        for file in (self.path, self.path.with_suffix(".json")):
            copy = file.with_stem("original")
            if file.is_file() and not copy.exists():
                write_bytes(copy, file.read_bytes())

    def attach(self, engine: Engine) -> None:
        """Compare after every run of the evaluator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)


class TrainingState:
    """Save all that an interrupted training needs to go on, and go on with it when the training starts again.

    Saved are the objects' state_dicts, the number of iterations and torch's random state: after every epoch,
    and within one every few minutes if the sampler can go on from there. On a CPU the weights then are, to
    the bit, those of a training that was never interrupted. The file is removed when training ends, unless
    for want of time: started again it goes on. Put it after the `ValidationHandler`.

    Args:
        path: file of the state.
        objects: what is saved; each has `state_dict` and `load_state_dict`, or is skipped (a DataLoader).
            Layers of networks and settings of optimizers and other parts (`HasSettings`) must stay the same.
        settings: further values that must be the same.
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
        parts = [_made_with(name, part) for name, part in objects.items()]
        self.settings = _as_json(
            {key: value for part in [*parts, settings or {}] for key, value in part.items()}
        )
        self.resume = is_true(resume, "resume")
        self.seconds = 60 * minutes
        self.within_epochs = all(hasattr(part, "state_dict") for part in objects.values())
        self._saved_at = time.monotonic()
        self._lock: BaseFileLock | None = None

    def attach(self, engine: Engine) -> None:
        """Connect to a trainer."""
        for event, handler in (
            (Events.STARTED, self._take_folder), (Events.STARTED, self.load),
            (Events.EPOCH_COMPLETED, self.save), (Events.COMPLETED, self.end),
            (Events.COMPLETED, self._give_folder_back), (Events.EXCEPTION_RAISED, self._give_folder_back),
        ):  # fmt: skip
            engine.add_event_handler(event, handler)
        if self.within_epochs:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._save_if_due)

    def save(self, engine: Engine) -> None:
        """Write the state, unless the training is about to end for good."""
        if engine.should_terminate not in (False, OUT_OF_TIME):
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
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            if not state.keys() >= STATE or not self.objects.keys() <= state["objects"].keys():
                raise KeyError("a part of the state")
        except Exception as error:  # whatever the unpickler or the zip reader raise
            raise InputError(
                f"{self.path}: expected the state of an interrupted training, found an unreadable file or "
                f"another one ({type(error).__name__}); begin anew with --resume false"
            ) from error
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
        done = f"{engine.state.iteration} iterations (epoch {engine.state.epoch + 1})"
        logger.warning("%s: training goes on after %s; --resume false begins anew", self.path, done)

    def end(self, engine: Engine) -> None:
        """Keep what goes on with more time; of a training that has ended nothing is left to go on with."""
        if engine.should_terminate == OUT_OF_TIME:
            if self.within_epochs:
                self.save(engine)
            logger.warning("%s: out of time; started again, training goes on from here", self.path)
        elif idist.get_rank() == 0:
            self.path.unlink(missing_ok=True)

    def _take_folder(self) -> None:
        """Two trainings would replace each other's weights; what a killed one was writing goes."""
        if idist.get_rank() == 0 and self._lock is None:
            self._lock = lock_folder(self.path.parent, "training")
            remove_partial_files(self.path.parent)
            for file in self.path.parent.glob("tmp*"):  # of Ignite's DiskSaver
                if not file.suffix:
                    file.unlink(missing_ok=True)

    def _give_folder_back(self, engine: Engine, error: BaseException | None = None) -> None:
        if self._lock is not None:
            release(self._lock)
            self._lock = None
        if error is not None:
            raise error

    def _save_if_due(self, engine: Engine) -> None:
        # the last iteration of an epoch is saved after the validation
        length = engine.state.epoch_length
        assert length is not None, "it is known while an epoch runs"
        if engine.state.iteration % length and time.monotonic() - self._saved_at > self.seconds:
            self.save(engine)


def _plain_module(part: Any) -> Any:
    """The network inside DistributedDataParallel."""
    return part.module if isinstance(part, nn.parallel.DistributedDataParallel) else part
