"""A bundle as a function: from one CT volume to its label map and probabilities, as its own configs say.

What runs is the bundle's `configs/inference.yaml`: preprocessing, network, inferer, postprocessing, without
the parts that write files. The same keys are what MONAI Label reads.
"""

from __future__ import annotations

import json
import pydoc
import re
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigComponent, ConfigParser
from monai.data import MetaTensor, list_data_collate
from monai.engines import default_prepare_batch
from monai.transforms import AsDiscreted, Invertd, SaveImage, SaveImaged

from headct.predict.model.class_names import class_names
from tools.core.errors import InputError, first_line, input_error
from tools.core.files import file_hash
from tools.core.tensors import plain
from tools.engine.checkpoint import load_weights, require_weights, weights_settings
from tools.engine.ensemble import EnsembleInferer, load_members
from tools.engine.postprocess import LabelFromProbabilitiesd
from tools.engine.precision import with_precision

__all__ = [
    "BundleModel",
    "Segmentation",
    "forget_scripts",
    "own_scripts",
]

#: Postprocessing that looks at each voxel alone, and makes label maps.
VOXELWISE = (AsDiscreted, LabelFromProbabilitiesd)
SLAB = 32  # slices
NEEDED = ("network_def", "preprocessing", "inferer", "postprocessing")
_SCRIPTS: dict[Path, dict[str, types.ModuleType]] = {}


@dataclass
class Segmentation:
    """Of one volume, all in the geometry of its file.

    Attributes:
        label: (X, Y, Z) uint8, class values.
        probability: (X, Y, Z) float32, of any class but the background.
        spread: (X, Y, Z) float32, standard deviation over the predictions that were compared; None without
            uncertainty. Of two it has a sign: `probability` is that of the first, and this leads to the mean.
        paired: whether two predictions were compared, and not the members of an ensemble.
        threshold: of the probability, from which on the label map calls a voxel hemorrhage.
    """

    label: Any
    probability: Any
    spread: Any = None
    paired: bool = False
    threshold: float = 0.5

    @property
    def deviation(self) -> Any:
        """The standard deviation without sign; None without uncertainty."""
        signed = self.paired and self.spread is not None
        return self.spread.abs() if signed else self.spread

    def counts_above_threshold(self) -> tuple[int, int, int, float]:
        """Voxels whose mean probability less and plus the deviation exceeds it; how many voxels either
        or the label map calls hemorrhage, and the sum of their deviation."""
        low = high = either = 0
        total = 0.0
        for z in range(self.label.shape[-1]):  # a slice at a time: these are five volumes of temporary values
            probability, spread = self.probability[..., z], self.spread[..., z]
            mean = probability + spread if self.paired else probability
            deviation = spread.abs()
            upper = mean + deviation > self.threshold
            used = upper | (self.label[..., z] > 0)
            low += int((mean - deviation > self.threshold).sum())
            high += int(upper.sum())
            either += int(used.sum())
            total += float(deviation[used].double().sum())
        return low, high, either, total


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


def forget_scripts(folder: Path) -> None:
    """Let the scripts of a bundle be read anew, as after a change."""
    _SCRIPTS.pop(folder, None)


class BundleModel:
    """A loaded bundle.

    Args:
        folder: of the bundle.
        weights: see `headct.runs.find_bundle.find_weights`; several files are the members of an ensemble.
        device: where it runs; None takes the bundle's choice.
        progress: show a bar over windows or slices.

    Raises:
        InputError: a file is missing or damaged, the weights do not fit, or the configs lack a part.
    """

    def __init__(
        self, folder: Path, weights: Sequence[Path], device: str | None = None, progress: bool = False
    ) -> None:
        self.folder, self.name, self.weights = folder, folder.name, list(weights)
        self.sha256 = [file_hash(path) for path in self.weights]
        self.metadata = _metadata(folder)
        self.notes = weights_settings(self.weights[0])
        with own_scripts(folder):
            self._load(device, progress)

    def _load(self, device: str | None, progress: bool) -> None:
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
        settings = None
        try:
            for number, step in enumerate(parser.get("run") or []):
                if _target(step) is require_weights:
                    parser.get_parsed_content(f"run#{number}")  # what stands beside the weights must fit
                    settings = (
                        parser.get_parsed_content(f"run#{number}#settings") if "settings" in step else None
                    )
            self.device = torch.device(parser.get_parsed_content("device") if "device" in parser else "cpu")
            network = parser.get_parsed_content("network_def")
            self.prepare = _prepare_batch(parser)
            self.preprocessing = parser.get_parsed_content("preprocessing")
            self.inferer = parser.get_parsed_content("inferer")
            self.postprocessing = _without_savers(parser.get_parsed_content("postprocessing"))
            labels = [step for step in self.postprocessing if isinstance(step, LabelFromProbabilitiesd)]
            self.threshold = float(labels[0].threshold) if labels else 0.5
        except Exception as error:
            cause = input_error(error)
            raise cause or InputError(
                f"{self.folder}/configs/inference.yaml: expected configs that load, found {first_line(error)}"
            ) from error
        if hasattr(self.inferer, "progress"):
            self.inferer.progress = progress
        amp = parser.get_parsed_content("amp") if "amp" in parser else False
        self._load_weights(network, amp, settings)
        self.names = class_names(self.metadata, self.notes.get("out_channels"))

    def _load_weights(self, network: Any, amp: bool | str, settings: dict[str, Any] | None) -> None:
        if len(self.weights) > 1:
            self.network: Any = load_members(network, self.weights, self.device, amp, settings)
            self.inferer = EnsembleInferer(self.inferer)
            return
        _check_finite(self.weights[0], load_weights(network, self.weights[0]))
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
        image = MetaTensor(volume.as_tensor()).copy_meta_from(volume)  # no copy: transforms leave it as it is
        item = self.preprocessing({"image": image})
        shown = {key: value for key, value in item.items() if isinstance(value, torch.Tensor)}
        image, _, args, kwargs = _four(self.prepare(list_data_collate([shown]), self.device))
        several = len(self.weights) > 1
        with torch.no_grad():
            pred = plain(self.inferer(image, self.network, *args, **kwargs)).cpu()
            if several:
                pred, extra = pred[:, :-1], pred[:, -1:]
            elif uncertainty:
                flipped = {key: _flip(value) for key, value in kwargs.items()}
                other = _flip(self.inferer(_flip(image), self.network, *args, **flipped)).cpu()
                extra = (_lesion(other[0]) - _lesion(pred[0]))[None, None] / 2
            else:
                extra = torch.zeros_like(pred[:, :0])
        source = {key: item[key] for key in item if key != "brain"}
        item = {**source, "pred": MetaTensor(pred[0])}
        probability = spread = invert = None
        for transform in self.postprocessing:
            if isinstance(transform, Invertd):
                invert = transform
                item["pred"] = _each_channel(invert, item)
                probability = _lesion(item["pred"])
            elif isinstance(transform, VOXELWISE):
                item = _in_slabs(transform, item)
            else:
                item = transform({**item, "pred": _whole(item["pred"])})
        if invert is None:
            raise InputError(f"{self.name}: expected `Invertd` in its postprocessing, found none")
        label = plain(_whole(item["pred"]))[0].to(torch.uint8)
        if label.shape != volume.shape[1:]:
            raise InputError(
                f"{self.name}: expected a label map of the scan's shape {tuple(volume.shape[1:])}, "
                f"found {tuple(label.shape)}"
            )
        del item
        if extra.shape[1]:
            source["pred"] = MetaTensor(extra[0])
            spread = plain(invert(source)["pred"])[0]
        return Segmentation(label, probability, spread, not several, self.threshold)


def _each_channel(invert: Any, item: dict[str, Any]) -> list[Any]:
    """The channels of `pred`, inverted one after the other: a step back copies what it is given."""
    return [invert({**item, "pred": channel})["pred"] for channel in item["pred"].split(1)]


def _whole(pred: Any) -> Any:
    """`pred` in one piece."""
    if isinstance(pred, list):
        return MetaTensor(torch.cat([plain(channel) for channel in pred])).copy_meta_from(pred[0])
    return pred


def _in_slabs(transform: Any, item: dict[str, Any]) -> dict[str, Any]:
    """What a transform that looks at each voxel alone makes of `pred`, as uint8, a slab after the other."""
    channels = item["pred"] if isinstance(item["pred"], list) else [item["pred"]]
    made = []
    for first in range(0, channels[0].shape[-1], SLAB):
        slab = [channel[..., first : first + SLAB] for channel in channels]
        made.append(plain(transform({**item, "pred": _whole(slab)})["pred"]).to(torch.uint8))
    return {**item, "pred": MetaTensor(torch.cat(made, -1)).copy_meta_from(channels[0])}


def _check_finite(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are NaN or infinite."""
    bad = [name for name, value in state.items() if not value.isfinite().all()]
    if bad:
        raise InputError(f"{path}: expected finite weights, found NaN or infinite ones in {bad[0]}")


def _metadata(folder: Path) -> dict[str, Any]:
    path = folder / "configs" / "metadata.json"
    try:
        metadata = json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, found {error}") from error
    if not isinstance(metadata, dict):
        raise InputError(f"{path}: expected values by key, found {type(metadata).__name__}")
    return metadata


def _target(step: Any) -> Any:
    """The object that an entry of a configuration calls, whatever name it is called by; None if none."""
    if not ConfigComponent.is_instantiable(step):
        return None
    target = ConfigComponent(config=step, id="").resolve_module_name()
    return pydoc.locate(target) if isinstance(target, str) else target


def _prepare_batch(parser: Any) -> Any:
    if "evaluator" in parser and "prepare_batch" in parser["evaluator"]:
        return parser.get_parsed_content("evaluator#prepare_batch")
    return default_prepare_batch


def _four(prepared: Sequence[Any]) -> tuple[Any, Any, Any, Any]:
    """image, label, args, kwargs: what MONAI's engines expect, whose last two may be left out."""
    return (*prepared, (), {}) if len(prepared) == 2 else tuple(prepared)


def _without_savers(postprocessing: Any) -> list[Any]:
    steps = postprocessing.flatten().transforms if hasattr(postprocessing, "flatten") else [postprocessing]
    return [step for step in steps if not isinstance(step, SaveImaged | SaveImage)]


def _lesion(channels: Any) -> Any:
    """Probability (X, Y, Z) of any class but the background, of (C, X, Y, Z) or a list of (1, X, Y, Z).

    Not one minus the background's: where a crop to the brain is undone, all channels are 0.
    """
    parts = [plain(channel).reshape(channel.shape[-3:]) for channel in channels]
    lesion = parts[0] if len(parts) == 1 else parts[1]
    for part in parts[2:]:
        lesion = lesion + part if part is parts[2] else lesion.add_(part)
    return lesion


def _flip(value: Any) -> Any:
    """Left and right of (B, C, X, Y, Z) exchanged; the preprocessing has made X the left-right axis."""
    return plain(value).flip(2) if isinstance(value, torch.Tensor) and value.ndim >= 4 else value
