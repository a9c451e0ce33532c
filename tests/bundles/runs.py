"""Runs of a bundle in the test's own process, and what they must have written."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow

from tools.phantom import write_phantoms

__all__ = [
    "check_evaluated_slices",
    "check_inferred",
    "check_shipped_weights",
    "held_out_case",
    "same",
    "workflow",
]


def workflow(kind: str, *files: str, **overrides: Any) -> ConfigWorkflow:
    """An initialised workflow of files in `configs`; `kind` is "train" or "infer", paths become text."""
    values = {key: str(value) if isinstance(value, Path) else value for key, value in overrides.items()}
    result = ConfigWorkflow([f"configs/{file}" for file in files], workflow_type=kind, **values)
    result.initialize()
    return result


def same(a: Any, b: Any) -> bool:
    """Whether two states, of tensors in dicts and lists, are equal to the bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def held_out_case(dataset_dir: str | Path, fold: int = 0) -> dict[str, Any]:
    """The first case of a fold, with paths as they are in `dataset.json`."""
    cases = json.loads((Path(dataset_dir) / "dataset.json").read_text())["training"]
    return next(item for item in cases if item["fold"] == fold)


def check_evaluated_slices(output_dir: Path, dataset_dir: str | Path) -> np.ndarray:
    """The table's Dice of each slice is that of the files; the predicted mask of the held-out case."""
    case = held_out_case(dataset_dir)
    truth = nib.load(Path(dataset_dir) / case["label"]).get_fdata() > 0
    found = nib.load(output_dir / "predictions" / f"{case['case']}_seg.nii.gz").get_fdata() > 0
    with (output_dir / "slice_metrics" / "per_case.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == truth.shape[-1]
    for k, row in enumerate(rows):
        total = truth[..., k].sum() + found[..., k].sum()
        dice = 2 * (truth[..., k] & found[..., k]).sum() / total if total else 1.0
        assert float(row["dice"]) == pytest.approx(dice, abs=1e-6)
    return found


def check_inferred(mask: Path, image: Path, expected: np.ndarray | None = None) -> None:
    """A written mask lies where its image does, and is the expected one."""
    found, scan = nib.load(mask), nib.load(image)
    assert found.shape == scan.shape
    assert np.allclose(found.affine, scan.affine, atol=1e-5)
    if expected is not None:
        assert np.array_equal(found.get_fdata() > 0, expected)


def check_shipped_weights(tmp_path: Path) -> None:
    """Inference as it is configured finds the blood of a head that the training never saw."""
    assert Path("models/model.pt").stat().st_size < 25e6
    size = {"shape": (256, 256, 12), "spacing": (0.9, 0.9, 12.0)}
    write_phantoms(tmp_path / "data", cases=1, folds=1, seed=901, kind="iph", **size)
    folders = {"dataset_dir": tmp_path / "data" / "images", "output_dir": tmp_path / "out"}
    workflow("infer", "inference.yaml", **folders).run()
    item = json.loads((tmp_path / "data" / "dataset.json").read_text())["training"][0]
    truth = nib.load(tmp_path / "data" / item["label"]).get_fdata() > 0
    found = nib.load(tmp_path / "out" / f"{item['case']}_seg.nii.gz").get_fdata() > 0
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.6
