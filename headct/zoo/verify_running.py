"""Checks that run a bundle's code: `python verify_running.py BUNDLE RESULTS OVERRIDES`, in its folder.

It is a process of its own, since every bundle has a package `scripts`, and a published one its own `tools`:
this file imports neither.
"""

from __future__ import annotations

import json
import logging
import pydoc
import sys
import tempfile
import urllib.error
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigComponent, ConfigParser, ConfigWorkflow, ckpt_export, verify_net_in_out
from monai.bundle.properties import InferProperties, TrainProperties
from monai.bundle.utils import ID_SEP_KEY

SUFFIXES = (".json", ".yaml", ".yml")
# keys that the configurations of this repository share: a synthetic set of three tiny heads instead of many
TINY = {
    "phantom": {
        "cases": 3,
        "test_cases": 1,
        "folds": 3,
        "seed": 0,
        "shape": [64, 64, 12],
        "spacing": [3, 3, 10],
    },
}
SHAPE = {"p": 5, "n": 4, "any": 64}  # of the input: 2**p, 16*n, *
NOT_HERE = (FileNotFoundError, urllib.error.URLError, ConnectionError)


class Skip(Exception):
    """The check can't be made here."""


def main(root: Path, results: Path, overrides: dict[str, Any]) -> None:
    sys.path[0] = str(root)  # Python puts this file's folder there
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)

    def check(name: str, function: Callable[..., str], *arguments: Any) -> None:
        try:
            line = {"name": name, "status": "pass", "reason": function(*arguments) or ""}
        except Skip as error:
            line = {"name": name, "status": "skip", "reason": str(error)}
        except Exception as error:
            status = "skip" if any(isinstance(cause, NOT_HERE) for cause in causes(error)) else "FAIL"
            line = {"name": name, "status": status, "reason": explained(error)}
        with results.open("a") as file:
            file.write(json.dumps(line) + "\n")

    check("every _target_ exists", targets, root)
    train, evaluate, inference = (config(root, name) for name in ("train", "evaluate", "inference"))
    check("properties of training", properties, "train", [train], overrides)
    check("properties of evaluation", properties, "infer", [train, evaluate], overrides)
    check("properties of inference", properties, "infer", [inference], overrides)
    check("verify_net_in_out", net_in_out, root, inference, overrides)
    check("weights load, nothing missing or left over", strict_load, root, inference, overrides)
    by_name = root / "configs" / "train.json"  # what `monai.bundle.load` takes
    check("weights load for training", strict_load, root, by_name if by_name.is_file() else None, overrides)
    check("ckpt_export", export, root, inference, overrides)


def config(root: Path, name: str) -> Path | None:
    """The configuration of that name, whatever its format."""
    return next((path for s in SUFFIXES if (path := root / "configs" / f"{name}{s}").is_file()), None)


def targets(root: Path) -> str:
    """Every component that a configuration names can be imported."""
    missing, count = [], 0
    for path in sorted((root / "configs").rglob("*")):
        if path.suffix not in SUFFIXES or path.name == "metadata.json":
            continue
        for target in sorted(set(named(ConfigParser.load_config_file(path)))):
            count += 1
            try:
                name = ConfigComponent(config={"_target_": target}, id="").resolve_module_name()
                found = pydoc.locate(str(name))
            except Exception as error:
                found, target = None, f"{target} ({explained(error)})"
            if found is None:
                missing.append(f"{target} in {path.relative_to(root)}")
    if missing:
        raise ImportError("; ".join(missing))
    return f"{count} names"


def named(part: Any) -> Iterator[str]:
    """The `_target_`s within a configuration that are names."""
    if isinstance(part, dict):
        target = part.get("_target_")
        if isinstance(target, str) and not target.startswith(("$", "@")):
            yield target
    for child in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from named(child)


def properties(kind: str, files: list[Path | None], overrides: dict[str, Any]) -> str:
    """First that the required keys stand in the configuration, then MONAI's own check, which builds them."""
    if None in files:
        raise Skip("no such configuration")
    paths = [str(path) for path in files]
    parser: Any = ConfigParser()
    parser.read_config(paths)
    table: dict[Any, Any] = TrainProperties if kind == "train" else InferProperties
    required = [entry["id"] for entry in table.values() if entry["required"] and "id" in entry]
    missing = [key.replace("::", ID_SEP_KEY) for key in required if key not in parser]
    if missing:
        raise KeyError(f"expected {', '.join(missing)} in the configuration, found none")
    tiny = {key: value for key, value in TINY.items() if key in parser}
    workflow = ConfigWorkflow(paths, workflow_type=kind, **{**tiny, **overrides})
    workflow.initialize()
    wrong = workflow.check_properties()
    if wrong:
        raise ValueError(f"wrong or missing: {', '.join(wrong)}")
    return f"{len(required)} required"


def net_in_out(root: Path, inference: Path | None, overrides: dict[str, Any]) -> str:
    """MONAI's check of shapes and types against the metadata."""
    if inference is None:
        raise Skip("no configuration of inference")
    metadata = str(root / "configs" / "metadata.json")
    options = {"device": "cpu", **SHAPE, **overrides}
    verify_net_in_out("network_def", metadata, str(inference), **options)
    return ""


def network_of(inference: Path, overrides: dict[str, Any]) -> torch.nn.Module:
    parser = ConfigParser()
    parser.read_config(str(inference))
    parser.update(overrides)
    return parser.get_parsed_content("network_def")


def strict_load(root: Path, inference: Path | None, overrides: dict[str, Any]) -> str:
    """The weights are a state_dict of exactly this network; if not a plain one, that is said."""
    if inference is None:
        raise Skip("no such configuration: monai.bundle.load gives the weights alone")
    path = root / "models" / "model.pt"
    if not path.is_file():
        raise Skip("no models/model.pt")
    weights, key = state_of(path)
    network_of(inference, overrides).load_state_dict(weights, strict=True)
    below = f", not plain but under {key!r}: monai.bundle.load needs key_in_ckpt={key!r}" if key else ""
    return f"{len(weights)} tensors{below}"


def state_of(path: Path) -> tuple[dict[str, torch.Tensor], str]:
    """A file's state_dict, and the key it lies under, empty for a plain one."""
    weights = torch.load(path, map_location="cpu", weights_only=True)
    key = next((key for key in ("model", "state_dict") if isinstance(weights.get(key), dict)), "")
    return (weights[key] if key else weights), key


def export(root: Path, inference: Path | None, overrides: dict[str, Any]) -> str:
    """TorchScript that gives what the network gives; by tracing where scripting does not work."""
    if inference is None:
        raise Skip("no configuration of inference")
    metadata, weights = root / "configs" / "metadata.json", root / "models" / "model.pt"
    network = network_of(inference, overrides).eval()
    with tempfile.TemporaryDirectory() as temporary:
        if weights.is_file():
            network.load_state_dict(state_of(weights)[0])
            note = ""
        else:
            note = ", of random weights"
        plain, exported = Path(temporary) / "model.pt", Path(temporary) / "model.ts"
        torch.save(network.state_dict(), plain)
        arguments: dict[str, Any] = {"ckpt_file": str(plain), "meta_file": str(metadata)}
        arguments["config_file"] = str(inference)
        how = "scripted"
        try:
            ckpt_export("network_def", str(exported), **arguments, **overrides)
        except Exception:
            how = "traced, since scripting fails"
            ckpt_export("network_def", str(exported), use_trace=True, **arguments, **overrides)
        x = torch.rand(input_shape(metadata))
        with torch.no_grad():
            expected, found = network(x), torch.jit.load(exported)(x)
    if not torch.allclose(found.float(), expected.float(), atol=1e-4, rtol=1e-3):
        difference = (found.float() - expected.float()).abs().max()
        raise ValueError(f"expected what the network gives, found a difference of {difference:.3g}")
    return how + note


def input_shape(metadata: Path) -> list[int]:
    """One input as the metadata describe it."""
    inputs = json.loads(metadata.read_text("utf-8"))["network_data_format"]["inputs"]
    entry = inputs.get("image") or next(iter(inputs.values()))
    sizes = []
    for size in entry["spatial_shape"]:
        text = "any" if size == "*" else str(size)
        sizes.append(int(eval(text, {"__builtins__": {}}, dict(SHAPE))))
    return [1, int(entry["num_channels"]), *sizes]


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it comes from, each once: they may go round in a ring."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def explained(error: BaseException) -> str:
    """The one line that a user needs: of the bundle's own `InputError`, or else of the first cause."""
    chain = list(causes(error))
    cause = next((cause for cause in chain if type(cause).__name__ == "InputError"), chain[-1])
    return f"{type(cause).__name__}: {(str(cause).strip().splitlines() or [''])[0]}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
