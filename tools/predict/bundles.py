"""A bundle as a function: from one CT volume to its label map and probabilities, as its own configs say.

What runs is the bundle's `configs/inference.yaml`: preprocessing, network, inferer, postprocessing, without
the parts that write files. The same keys are what MONAI Label reads.
"""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.errors import InputError

__all__ = [
    "BundleModel",
    "Segmentation",
    "find_bundle",
    "find_weights",
    "input_error",
    "one_line",
    "own_scripts",
]

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
NEEDED = ("network_def", "preprocessing", "inferer", "postprocessing")
_SCRIPTS: dict[Path, dict[str, types.ModuleType]] = {}


@dataclass
class Segmentation:
    """Of one volume, all in the geometry of its file.

    Attributes:
        label: (X, Y, Z) uint8, class values.
        probability: (X, Y, Z) float32, of any class but the background.
        mean: the same, averaged over the predictions that were compared; `probability` if there is one only.
        deviation: (X, Y, Z) float32, standard deviation over them; None without uncertainty.
    """

    label: Any
    probability: Any
    mean: Any
    deviation: Any


def find_bundle(name: str | Path) -> Path:
    """The folder of a bundle: a path, or a name in the repository's `bundles/` or in `./bundles`.

    Raises:
        InputError: there is none, or it has no `configs/inference.yaml`.
    """
    places = [Path(name), Path("bundles") / name, BUNDLES / name]
    for folder in places:
        if (folder / "configs").is_dir():
            if not (folder / "configs" / "inference.yaml").is_file():
                raise InputError(
                    f"{name}: expected a bundle with configs/inference.yaml, found none in {folder}"
                )
            return folder.resolve()
    known = sorted(path.parent.parent.name for path in BUNDLES.glob("*/configs/inference.yaml"))
    raise InputError(f"bundle: expected a bundle's folder or one of {', '.join(known)}, found {str(name)!r}")


def find_weights(folder: Path, weights: str | Path | None = None) -> list[Path]:
    """The weights of a bundle: `models/model.pt`, a file, or all files of a pattern (an ensemble's members).

    Raises:
        InputError: there are none.
    """
    if weights is None:
        path = folder / "models" / "model.pt"
        if not path.is_file():
            raise InputError(
                f"{path}: expected the weights of bundle {folder.name}, found no such file: fetch them "
                f"(python -m tools weights {folder.name}) or train the bundle"
            )
        return [path]
    if Path(weights).is_file():
        return [Path(weights).resolve()]
    from tools.ensemble import find_checkpoints

    return [path.resolve() for path in find_checkpoints(weights)]


@contextmanager
def own_scripts(folder: Path) -> Iterator[None]:
    """Let `import scripts` mean the scripts of one bundle, and leave nothing of it behind.

    Every bundle calls its package `scripts`; without this the second bundle of a process would be given the
    first one's modules.
    """

    def taken() -> dict[str, types.ModuleType]:
        names = [name for name in sys.modules if re.fullmatch(r"scripts(\..*)?", name)]
        return {name: sys.modules.pop(name) for name in names}

    outside = taken()
    sys.modules.update(_SCRIPTS.get(folder, {}))
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        _SCRIPTS[folder] = taken()
        sys.modules.update(outside)


class BundleModel:
    """A loaded bundle.

    Args:
        folder: of the bundle.
        weights: see `find_weights`; several files are the members of an ensemble.
        device: where it runs; None takes the bundle's choice.
        progress: show a bar over windows or slices.

    Raises:
        InputError: a file is missing or damaged, the weights do not fit, or the configs lack a part.
    """

    def __init__(
        self, folder: Path, weights: Sequence[Path], device: str | None = None, progress: bool = False
    ) -> None:
        from tools.files import file_hash

        self.folder, self.name, self.weights = folder, folder.name, list(weights)
        self.sha256 = [file_hash(path) for path in self.weights]
        self.metadata = _metadata(folder)
        self.notes = _notes(self.weights[0])
        with own_scripts(folder):
            self._load(device, progress)

    def _load(self, device: str | None, progress: bool) -> None:
        import torch
        from monai.bundle import ConfigParser

        parser = ConfigParser()
        parser.read_config(str(self.folder / "configs" / "inference.yaml"))
        missing = [key for key in NEEDED if key not in parser]
        if missing:
            raise InputError(
                f"{self.folder}/configs/inference.yaml: expected the keys {', '.join(NEEDED)}, "
                f"found no {', '.join(missing)}"
            )
        parser["bundle_root"] = str(self.folder)
        parser["output_dir"] = str(self.folder / "output")  # nothing is written there: savers are left out
        parser["ckpt_path"] = str(self.weights[0])
        if device is not None:
            try:
                torch.device(device)
            except RuntimeError as error:
                raise InputError(f"device: expected one such as cpu or cuda:0, found {device!r}") from error
            parser["device"] = f"$__import__('torch').device({device!r})"
        first = (parser.get("run") or [None])[0]
        settings = None
        try:
            if isinstance(first, dict) and first.get("_target_") == "tools.checkpoint.require_weights":
                parser.get_parsed_content("run#0")  # the settings beside the weights must be the configs'
                settings = parser.get_parsed_content("run#0#settings") if "settings" in first else None
            self.device = torch.device(parser.get_parsed_content("device") if "device" in parser else "cpu")
            network = parser.get_parsed_content("network_def")
            self.prepare = _prepare_batch(parser)
            self.preprocessing = parser.get_parsed_content("preprocessing")
            self.inferer = parser.get_parsed_content("inferer")
            self.postprocessing = _without_savers(parser.get_parsed_content("postprocessing"))
        except Exception as error:
            cause = input_error(error)
            raise cause or InputError(
                f"{self.folder}/configs/inference.yaml: expected configs that load, found {one_line(error)}"
            ) from error
        if hasattr(self.inferer, "progress"):
            self.inferer.progress = progress
        amp = parser.get_parsed_content("amp") if "amp" in parser else False
        self._load_weights(network, amp, settings)
        self.names = _class_names(self.metadata)

    def _load_weights(self, network: Any, amp: bool | str, settings: dict[str, Any] | None) -> None:
        import torch

        from tools.ensemble import EnsembleInferer, load_members
        from tools.precision import with_precision

        if len(self.weights) > 1:
            self.network: Any = load_members(network, self.weights, self.device, amp, settings)
            self.inferer = EnsembleInferer(self.inferer)
            return
        try:
            state = torch.load(self.weights[0], map_location="cpu", weights_only=True)
        except Exception as error:
            raise InputError(f"{self.weights[0]}: expected weights, found {one_line(error)}") from error
        state = state.get("model", state) if isinstance(state, dict) else state
        try:
            network.load_state_dict(state)
        except Exception as error:
            raise InputError(
                f"{self.weights[0]}: expected weights of {type(network).__name__} as bundle {self.name} "
                f"configures it, found others ({_mismatch(error)})"
            ) from error
        self.network = with_precision(network.eval(), self.device, amp)

    @property
    def uncertainty_method(self) -> str:
        """What `segment` compares."""
        if len(self.weights) > 1:
            return f"{len(self.weights)} networks"
        return "the scan and its left-right flip"

    def segment(self, volume: Any, uncertainty: bool = True) -> Segmentation:
        """Run the bundle on one CT.

        Args:
            volume: MetaTensor (1, X, Y, Z), HU, in the orientation of its file.
            uncertainty: also compare with a second prediction, of the flipped input; an ensemble's members
                are compared in any case.
        """
        with own_scripts(self.folder):
            return self._segment(volume, uncertainty)

    def _segment(self, volume: Any, uncertainty: bool) -> Segmentation:
        import torch
        from monai.data import MetaTensor, list_data_collate
        from monai.transforms import Invertd

        item = self.preprocessing({"image": volume.clone()})
        shown = {key: value for key, value in item.items() if isinstance(value, torch.Tensor)}
        image, _, args, kwargs = _four(self.prepare(list_data_collate([shown]), self.device))
        several = len(self.weights) > 1
        with torch.no_grad():
            pred = _plain(self.inferer(image, self.network, *args, **kwargs)).cpu()
            if several:
                pred, extra = pred[:, :-1], pred[:, -1:]
            elif uncertainty:
                flipped = {key: _flip(value) for key, value in kwargs.items()}
                other = _flip(self.inferer(_flip(image), self.network, *args, **flipped)).cpu()
                extra = (_lesion(other) - _lesion(pred)) / 2
            else:
                extra = torch.zeros_like(pred[:, :0])
        classes = pred.shape[1]
        item["pred"] = MetaTensor(torch.cat([pred, extra], 1)[0])  # what Invertd turns back
        inverted = None
        for transform in self.postprocessing:
            item = transform(item)
            if isinstance(transform, Invertd):
                inverted = _plain(item["pred"])
                item["pred"] = item["pred"][:classes]
        if inverted is None:
            raise InputError(f"{self.name}: expected `Invertd` in its postprocessing, found none")
        label = _plain(item["pred"])[0].to(torch.uint8)
        if label.shape != volume.shape[1:]:
            raise InputError(
                f"{self.name}: expected a label map of the scan's shape {tuple(volume.shape[1:])}, "
                f"found {tuple(label.shape)}"
            )
        probability = _lesion(inverted[None, :classes])[0, 0]
        mean, deviation = probability, None
        if several:
            deviation = inverted[-1]
        elif uncertainty:
            mean, deviation = probability + inverted[-1], inverted[-1].abs()
        return Segmentation(label, probability, mean, deviation)


def one_line(error: BaseException) -> str:
    """The first line of an error's message, with its kind."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0][:300]}"


def _mismatch(error: BaseException) -> str:
    """What `load_state_dict` complains of, without its lists of names."""
    lines = [line.strip() for line in str(error).splitlines()[1:]] or [one_line(error)]
    first = lines[0] if len(lines[0]) < 160 else lines[0][:157] + "..."
    return first if len(lines) == 1 else f"{first} and {len(lines) - 1} more"


def input_error(error: BaseException | None) -> InputError | None:
    """The InputError that MONAI has wrapped into errors of its own, if there is one."""
    while error is not None:
        if isinstance(error, InputError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _metadata(folder: Path) -> dict[str, Any]:
    path = folder / "configs" / "metadata.json"
    try:
        return json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, found {error}") from error


def _notes(weights: Path) -> dict[str, Any]:
    """What stands beside the weights (`tools.checkpoint`), such as what they were trained on."""
    beside = weights.with_suffix(".json")
    try:
        return json.loads(beside.read_text()) if beside.is_file() else {}
    except ValueError as error:
        raise InputError(f"{beside}: expected JSON, found {error}") from error


def _class_names(metadata: dict[str, Any]) -> dict[int, str]:
    """Names of the values of the label map; a network of one channel has one class, 1."""
    outputs = metadata.get("network_data_format", {}).get("outputs", {})
    first = next(iter(outputs.values()), {})
    channels = {int(key): str(name) for key, name in first.get("channel_def", {}).items()}
    if list(channels) == [0]:
        return {1: channels[0]}
    return {key: name for key, name in channels.items() if key > 0} or {1: "hemorrhage"}


def _prepare_batch(parser: Any) -> Any:
    from monai.engines import default_prepare_batch

    if "evaluator" in parser and "prepare_batch" in parser["evaluator"]:
        return parser.get_parsed_content("evaluator#prepare_batch")
    return default_prepare_batch


def _four(prepared: Sequence[Any]) -> tuple[Any, Any, Any, Any]:
    """image, label, args, kwargs: what MONAI's engines expect, whose last two may be left out."""
    return (*prepared, (), {}) if len(prepared) == 2 else tuple(prepared)  # type: ignore[return-value]


def _without_savers(postprocessing: Any) -> list[Any]:
    from monai.transforms import SaveImage, SaveImaged

    steps = postprocessing.flatten().transforms if hasattr(postprocessing, "flatten") else [postprocessing]
    return [step for step in steps if not isinstance(step, SaveImaged | SaveImage)]


def _lesion(pred: Any) -> Any:
    """Probability (B, 1, ...) of any class but the background.

    Not one minus the background's: where a crop to the brain is undone, all channels are 0.
    """
    return pred if pred.shape[1] == 1 else pred[:, 1:].sum(1, keepdim=True)


def _flip(value: Any) -> Any:
    """Left and right of (B, C, X, Y, Z) exchanged; the preprocessing has made X the left-right axis."""
    import torch

    return _plain(value).flip(2) if isinstance(value, torch.Tensor) and value.ndim >= 4 else value


def _plain(tensor: Any) -> Any:
    return tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor
