"""The bundles that a prediction was asked for, with their weights: found at once, loaded when needed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headct.predict.model.bundle import BundleModel, forget_scripts
from headct.runs.find_bundle import every_bundle, find_bundle, find_weights
from tools.core.errors import InputError
from tools.core.files import file_hash

__all__ = ["ChosenModels"]

_kept: ChosenModels | None = None
"""The last that came to this process as part of a task, loaded for the next one."""


class ChosenModels:
    """One bundle or several, each with its weights.

    Sent to another process they are the ones that came there last, already loaded, if nothing has changed.

    Args:
        bundle: name or folder of a bundle, or several; `all` are those that come along with weights.
        weights: for each bundle, see `headct.runs.find_bundle.find_weights`; None takes their own.

    Raises:
        InputError: no such bundle or weights, a bundle twice, or weights for another number of bundles.
    """

    def __init__(
        self, bundle: str | Path | Sequence[str | Path], weights: str | Path | Sequence[str | Path] | None
    ) -> None:
        names = [bundle] if isinstance(bundle, str | Path) else list(bundle)
        if [str(name) for name in names] == ["all"]:
            names = list(every_bundle())
        if not names:
            raise InputError("bundle: expected one or more names, found none")
        self.folders = [find_bundle(name, "configs/inference.yaml") for name in names]
        for number, folder in enumerate(self.folders):
            if folder.name in [other.name for other in self.folders[:number]]:
                raise InputError(f"bundle: expected different names, found {folder.name} twice")
        if weights is None:
            given: list[str | Path | None] = [None] * len(names)
        else:
            given = [weights] if isinstance(weights, str | Path) else list(weights)
        if len(given) != len(names):
            raise InputError(f"weights: expected one for each of {len(names)} bundles, found {len(given)}")
        self.weights = [find_weights(*pair) for pair in zip(self.folders, given, strict=True)]
        self._digests: list[list[str]] | None = None
        self._content: list[str] | None = None
        self._loaded: dict[str | None, list[BundleModel]] = {}

    @property
    def settings(self) -> dict[str, object]:
        """What the result of a case depends on, as it stands in `report.json`."""
        if self._digests is None or self._content is None:
            self._digests = [[file_hash(path) for path in paths] for paths in self.weights]
            self._content = [file_hash(file) for file in self._files()]
        names = [folder.name for folder in self.folders]
        content = hashlib.sha256("".join(self._content).encode()).hexdigest()
        return {"bundles": names, "weights": self._digests, "content": content}

    def _files(self) -> list[Path]:
        """What the bundles are made of besides their weights, and the settings beside those."""
        beside = [path.with_suffix(".json") for paths in self.weights for path in paths]
        files = [file for folder in self.folders for file in _files(folder)]
        return [*files, *(file for file in beside if file.is_file())]

    def __reduce__(self) -> tuple[Any, ...]:
        state = {
            "folders": [folder.absolute() for folder in self.folders],
            "weights": [[path.absolute() for path in paths] for paths in self.weights],
            "_digests": self.settings["weights"],
            "_content": self._content,
        }
        return _keep, (state,)

    def load(self, device: str | None = None, progress: bool = False) -> list[BundleModel]:
        """The bundles, loaded at the first call.

        Raises:
            InputError: see `BundleModel`.
        """
        if device not in self._loaded:
            pairs = zip(self.folders, self.weights, strict=True)
            self._loaded[device] = [BundleModel(folder, paths, device, progress) for folder, paths in pairs]
        return self._loaded[device]


def _files(folder: Path) -> list[Path]:
    """What a bundle is made of, besides its weights."""
    files = [*folder.glob("configs/**/*"), *folder.glob("scripts/**/*.py")]
    return sorted(file for file in files if file.is_file())


def _keep(state: dict[str, Any]) -> ChosenModels:
    """The models that this process has kept, or others in their place."""
    global _kept
    if _kept is None or any(getattr(_kept, name) != value for name, value in state.items()):
        models = ChosenModels.__new__(ChosenModels)
        models.__dict__.update(state, _loaded={})
        for folder in models.folders:
            forget_scripts(folder)
        _kept = models
    return _kept
