"""Every variant trains, evaluates and infers: in one process, on a tiny set that is prepared once."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from headct.runs.curves import read_scalars
from tests.bundles.runs import check_evaluated_slices, check_inferred, held_out_case, workflow
from tools.phantom import write_phantoms

FEATURES = [4, 4, 8, 8, 8]
NETWORK = {"network_def#features": FEATURES}
WINDOWS = NETWORK | {"window_size": 32, "window_stride": 16}
VARIANTS = {
    # overlay: overrides that make it tiny, tensors in the weights file, optimisation steps of an epoch
    "default": (NETWORK, 9 * 14 + 4 * 2 + 2, 2),
    "unet": (NETWORK, 9 * 4 + 4 * 2 + 2, 2),
    "hssayeni_windows": (WINDOWS, 9 * 4 + 4 * 2 + 4, 2),
    "hssayeni_slices": (NETWORK, 9 * 4 + 4 * 2 + 4, 2),
    "threshold": ({}, 1, None),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, object]:
    root = tmp_path_factory.mktemp("variants")
    spacing, shape = (3.0, 3.0, 10.0), (64, 64, 12)
    write_phantoms(root / "data", cases=3, seed=3, folds=3, kind="edh+iph", shape=shape, spacing=spacing)
    return {"dataset_dir": str(root / "data"), "cache_dir": str(root / "cache"), "input#size": [64, 64]}


def overlay(name: str) -> list[str]:
    return [] if name == "default" else [f"variants/{name}.yaml"]


def test_every_overlay_is_tested(bundle):
    files = {path.stem for path in (bundle / "configs" / "variants").glob("*.yaml")}
    elsewhere = {"types", "anatomy", "weights"}  # in test_types.py and test_weights.py
    assert files - elsewhere | {"default"} == set(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_trains_evaluates_and_infers(bundle, data, tmp_path, name):
    small, tensors, steps = VARIANTS[name]
    folders = {"ckpt_dir": str(tmp_path), "output_dir": str(tmp_path)}
    epoch = {
        "patches_per_case": 4,
        "batch_size": 4,
        "max_epochs": 1,
        "val_interval": 1,
        "checkpoint_every": 1,
    }
    training = workflow("train", "train.yaml", *overlay(name), **data, **folders, **epoch, **small)
    training.run()
    weights = torch.load(tmp_path / "model.pt", weights_only=True)
    assert len(weights) == tensors
    if steps:
        assert training.parser.get_parsed_content("train#trainer").state.iteration == steps
        assert (tmp_path / "model_epoch=1.pt").is_file()
        curves = read_scalars(tmp_path)
        for tag in ("train_mean_dice", "train_mean_iou", "val_mean_dice", "val_mean_iou"):
            assert 0 <= curves[tag][1][0] <= 1
    else:
        assert 100 <= weights["thresholds"][0] <= 210 <= weights["thresholds"][1] <= 255

    evaluation = workflow("infer", "train.yaml", "evaluate.yaml", *overlay(name), **data, **folders, **small)
    evaluation.run()
    found = check_evaluated_slices(tmp_path, data["dataset_dir"])
    with (tmp_path / "slice_metrics" / "slice_detection.csv").open(newline="") as file:
        assert [row["threshold"] for row in csv.DictReader(file)] == ["0.5", "0.6", "0.7", "0.8", "0.9"]

    case = held_out_case(data["dataset_dir"])
    image = Path(data["dataset_dir"]) / case["image"]
    inference = workflow(
        "infer", "inference.yaml", *overlay(name), output_dir=str(tmp_path / "out"), dataset_dir=str(image),
        ckpt_path=str(tmp_path / "model.pt"), save_probabilities=True,
        **{"input#size": data["input#size"]}, **small,
    )  # fmt: skip
    inference.run()
    check_inferred(tmp_path / "out" / f"{case['case']}_seg.nii.gz", image, found)
    if name in ("default", "unet"):  # the others close and open the mask
        probability = nib.load(tmp_path / "out" / f"{case['case']}_prob.nii.gz").get_fdata()
        assert np.array_equal(probability >= 0.5, found)
