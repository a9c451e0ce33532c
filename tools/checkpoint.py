"""Weights and training states on disk: written in one step, loaded with one clear word when they can't be."""

from __future__ import annotations

import glob
import io
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver
from torch import nn

from tools.cache import transform_hash
from tools.errors import InputError
from tools.files import write_bytes
from tools.flags import is_true

__all__ = [
    "BestWeights",
    "TrainingState",
    "export_weights",
    "require_weights",
    "trained_with",
    "weights_settings",
]

logger = logging.getLogger(__name__)


def require_weights(path: str | Path, settings: Mapping[str, Any] | None = None) -> None:
    """Check, before anything is loaded, that a weights file exists and suits what the network will be shown.

    Args:
        path: of the weights.
        settings: values that must be the training's, where the file beside the weights says what those were.

    Raises:
        InputError: there is no file at `path`, or it was trained with another value of a setting.
    """
    if not Path(path).is_file():
        raise InputError(
            f"{path}: expected trained weights, found no such file: run `training` of the bundle first"
        )
    known, wanted = weights_settings(path), _as_json(settings)
    for name in wanted:
        if name in known and known[name] != wanted[name]:
            raise InputError(
                f"{path}: expected {name} {known[name]}, with which these weights were trained, found "
                f"{wanted[name]}"
            )


def weights_settings(path: str | Path) -> dict[str, Any]:
    """What weights were trained with: `model.json` beside `model.pt`; empty where there is no such file."""
    beside = Path(path).with_suffix(".json")
    return json.loads(beside.read_text()) if beside.is_file() else {}


def trained_with(paths: str | Path | Sequence[str | Path], key: str, default: Any = None) -> Any:
    """One setting that weights were trained with, so that inference need not be told.

    Args:
        paths: a weights file, a pattern, or a list of either; all members of an ensemble must agree.
        key: name of the setting.
        default: where no file beside the weights says it, or there are no weights.

    Raises:
        InputError: weights of which each was trained with another value.
    """
    entries = [paths] if isinstance(paths, str | Path) else list(paths)
    files = [file for entry in entries for file in sorted(glob.glob(str(entry), recursive=True))]
    values = {file: weights_settings(file).get(key, default) for file in files}
    different = [file for file in files if values[file] != values[files[0]]]
    if different:
        raise InputError(
            f"{different[0]}: expected {key} {values[files[0]]} as {files[0]}, found {values[different[0]]}"
        )
    return values[files[0]] if files else default


def export_weights(source: str, out: str, **notes: Any) -> None:
    """Write weights to be shipped: a plain state_dict in fp16, which loads into a float32 network.

    Args:
        source: `model.pt` of a training; what lies beside it in `model.json` is taken along.
        out: file to write.
        notes: further `--key value` for the file beside it, such as the data that was trained on.

    Raises:
        InputError: there are no weights, or a value is beyond fp16's range.
    """
    require_weights(source)
    weights = torch.load(source, map_location="cpu", weights_only=True)
    half = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    for name, value in half.items():
        if not value.isfinite().all():
            raise InputError(f"{source}: expected values within fp16's range, found {name} beyond it")
    stream = io.BytesIO()
    torch.save(half, stream)
    write_bytes(Path(out), stream.getvalue())
    settings = {**weights_settings(source), "shipped": True, **notes}
    write_bytes(Path(out).with_suffix(".json"), (json.dumps(settings, indent=2) + "\n").encode())
    print(f"{out}: {len(stream.getvalue()) / 1e6:.1f} MB")


def _as_json(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """As JSON has them: what comes from a file must compare equal to what comes from a configuration.

    A module, such as a loss, becomes a hash of its class and arguments.
    """

    def plain(value: Any) -> str:
        return transform_hash([value]).decode() if isinstance(value, nn.Module) else str(value)

    return json.loads(json.dumps(dict(settings or {}), default=plain))


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
    Weights that came with the bundle are not lost: before they are replaced, `original.pt` becomes a copy.

    Args:
        path: file of the weights.
        network: network, also one wrapped for several processes.
        settings: what the network was shown, written beside the weights (`model.json`), so that inference
            does the same.
    """

    def __init__(
        self, path: str | Path, network: nn.Module, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.path = Path(path)
        self.settings = _as_json(settings)
        super().__init__(
            {"model": network},
            ReplacingSaver(self.path.parent),
            score_function=lambda engine: engine.state.metrics[engine.state.key_metric_name],
            filename_pattern=self.path.name,
        )

    def __call__(self, engine: Engine) -> None:
        """Save if this is the best so far."""
        if idist.get_rank() == 0 and weights_settings(self.path).get("shipped"):
            self._keep_shipped()
        super().__call__(engine)
        if idist.get_rank() == 0 and self.settings and weights_settings(self.path) != self.settings:
            text = json.dumps(self.settings, indent=2) + "\n"
            write_bytes(self.path.with_suffix(".json"), text.encode())

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
        self.settings = _as_json(settings)
        self.resume = is_true(resume, "resume")
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
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever the unpickler or the zip reader raise
            raise InputError(
                f"{self.path}: expected the state of an interrupted training, found an unreadable file "
                f"({type(error).__name__}); begin anew with --resume false"
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
