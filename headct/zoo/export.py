"""A bundle's network with its weights, for engines other than PyTorch: ONNX, or `.pt2` of torch.export."""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn
from torch.fx import GraphModule

from headct.predict.model.bundle import own_scripts
from headct.runs.find_bundle import find_bundle, find_weights
from tools.core.errors import InputError
from tools.engine.checkpoint import load_weights

__all__ = ["export"]

SUFFIXES = (".onnx", ".pt2")
INPUT, OUTPUT = "image", "pred"
TOLERANCE = 1e-3
"""Largest difference to PyTorch, as a share of the output's standard deviation where that is above 1."""


def export(
    bundle: str | Path,
    out: str | Path,
    weights: str | Path | None = None,
    size: Sequence[int] | None = None,
    batch: int | None = None,
) -> Path:
    """Write the network alone: from what the bundle's `preprocessing` and inferer give it to logits.

    The file is written once its output is that of PyTorch: as torch.export loads it, or as ONNX Runtime
    computes it, where that is installed.

    Args:
        bundle: folder of a bundle, or its name in `bundles`.
        out: file to write, `.onnx` or `.pt2`.
        weights: file of weights; default: the bundle's `models/model.pt`.
        size: of an input, without batch and channels; default: what the bundle's inference takes.
        batch: inputs at a time; None leaves that open.

    Raises:
        InputError: no such bundle or weights, weights of another network, a package that is missing, or an
            output that differs.
    """
    path, folder = Path(out), find_bundle(bundle, "configs/inference.yaml")
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a file name that ends in {' or '.join(SUFFIXES)}, found another")
    packages = ("onnx", "onnxscript") if path.suffix == ".onnx" else ()
    for name in packages:
        if not importlib.util.find_spec(name):
            raise InputError(f"{path}: expected the package {name}, found none: pip install {name}")
    if batch is not None and batch < 1:
        raise InputError(f"batch: expected 1 or more, found {batch}")
    chosen = find_weights(folder, weights)
    if len(chosen) > 1:
        raise InputError(f"{weights}: expected one file of weights, found {len(chosen)}")
    with own_scripts(folder):
        network, shape = _network(folder, chosen[0], size)
        image = torch.rand(batch or 2, *shape, generator=torch.Generator().manual_seed(0))
        # torch.export takes a batch of 1 for a constant; 2 stands for any number
        program = _program(network, image, batch is None)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as temporary:
            part = Path(temporary) / path.name
            _write(program, part)
            how = _compare(network, part, image if batch else torch.cat([image, image[:1]]))
            os.replace(part, path)
    counts = ", ".join(map(str, (batch or "batch", *shape)))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, input {INPUT} ({counts}), {how}")
    return path


def _network(folder: Path, weights: Path, size: Sequence[int] | None) -> tuple[nn.Module, tuple[int, ...]]:
    """The network of `inference.yaml` with its weights, and the shape of an input without its batch."""
    file = folder / "configs" / "inference.yaml"
    parser = ConfigParser()
    parser.read_config(str(file))
    parser["bundle_root"], parser["ckpt_path"] = str(folder), str(weights)
    network = parser.get_parsed_content("network_def").eval()
    load_weights(network, weights)
    metadata = json.loads((folder / "configs" / "metadata.json").read_text("utf-8"))
    about = metadata["network_data_format"]["inputs"][INPUT]
    key = "network_def#in_channels"
    channels = parser.get_parsed_content(key) if key in parser else about["num_channels"]
    if size is None:
        known = [name for name in ("roi_size", "input#size") if name in parser]
        if not known:
            raise InputError(f"{file}: expected roi_size or input#size, found neither: give --size")
        size = parser.get_parsed_content(known[0])
    if len(size) != len(about["spatial_shape"]):
        raise InputError(f"size: expected {len(about['spatial_shape'])} numbers, found {tuple(size)}")
    return network, (int(channels), *map(int, size))


def _program(network: nn.Module, image: torch.Tensor, any_batch: bool) -> Any:
    """The network as a graph of torch.export."""
    shapes = ({0: torch.export.Dim("batch", min=1)},) if any_batch else None
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(network, (image,), dynamic_shapes=shapes)
    except Exception as error:  # of many kinds, with many lines
        reason = str(error).strip().splitlines()[0][:200]
        raise InputError(
            f"size: expected one that the network takes, found that torch.export fails on "
            f"{tuple(image.shape)}: {reason}"
        ) from error
    for graph in (part.graph for part in program.graph_module.modules() if isinstance(part, GraphModule)):
        for node in graph.nodes:
            node.meta.pop("stack_trace", None)  # it names files of this machine, and so its user
    return program


def _write(program: Any, path: Path) -> None:
    if path.suffix == ".pt2":
        torch.export.save(program, path)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            program, (), path, input_names=[INPUT], output_names=[OUTPUT], external_data=False, verbose=False
        )


def _compare(network: nn.Module, path: Path, image: torch.Tensor) -> str:
    """How far the written file's output is from PyTorch's, in words."""
    with torch.no_grad():
        expected = network(image)
        if path.suffix == ".pt2":
            found, engine = torch.export.load(path).module()(image), "torch.export"
        elif importlib.util.find_spec("onnxruntime"):
            import onnxruntime

            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            found = torch.from_numpy(session.run(None, {INPUT: image.numpy()})[0])
            engine = f"ONNX Runtime {onnxruntime.__version__}"
        else:
            return "not compared with PyTorch: onnxruntime is not installed"
    difference = (found - expected).abs().max().item() if found.shape == expected.shape else float("inf")
    spread = max(1.0, expected.std().item())
    if not difference <= TOLERANCE * spread:
        raise InputError(
            f"{path.name}: expected PyTorch's output from {engine}, found a difference of {difference:.3g}"
        )
    return f"at most {difference:.1g} from PyTorch's output ({engine})"
