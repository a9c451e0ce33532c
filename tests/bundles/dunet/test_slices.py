"""Single slices in CT-ICH's layout: trained on, scored by patient and type, segmented as pictures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headct.datasets import prepare
from tests.bundles.runs import workflow
from tools.phantom import write_phantoms
from tools.slices.preprocessing import SlicePreprocessing

NETWORK = {"network_def#features": [4, 4, 8, 8, 8], "input#size": [64, 64]}


@pytest.fixture(scope="module")
def slices(tmp_path_factory) -> Path:
    """Three patients of eight slices, a fold each."""
    root = tmp_path_factory.mktemp("slices")
    write_phantoms(
        root / "ct",
        cases=3,
        seed=3,
        kind="edh+iph",
        shape=(64, 64, 8),
        spacing=(3.3, 3.3, 15.0),
        layout="ct_ich_v1",
    )
    prepare("ct_ich_v1", root / "ct", root / "patients.json", folds=3, progress=False)
    return root


@pytest.fixture(scope="module")
def trained(bundle, slices) -> dict[str, object]:
    settings = {
        "dataset_dir": str(slices), "datalist_name": "patients.json", "cache_dir": str(slices / "cache"),
        "ckpt_dir": str(slices / "models"), "output_dir": str(slices / "eval"), **NETWORK,
    }  # fmt: skip
    training = workflow("train", "train.yaml", max_epochs=1, batch_size=8, **settings)
    training.run()
    # one drawn slice for each slice of the two training folds, half of them with hemorrhage
    assert training.parser.get_parsed_content("train#trainer").state.iteration == 2
    return settings


def test_scores_know_patient_and_types(trained, slices):
    workflow("infer", "train.yaml", "evaluate.yaml", **trained).run()
    with (slices / "eval" / "slice_metrics" / "per_case.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["patient"] for row in rows}) == 1
    assert len(rows) == 8
    for row in rows:
        assert bool(row["types"]) == (row["hit"] != "")
        assert set(row["types"].split("+")) <= {"edh", "iph", ""}


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_picture_gets_a_mask_of_its_size(trained, slices, tmp_path, suffix):
    """The mask is what network and threshold say of the picture, prepared by hand."""
    source = sorted((slices / "ct" / "Patients_CT").glob("*/brain/5.jpg"))[0]
    picture = tmp_path / f"slice{suffix}"
    with Image.open(source) as image:
        image.save(picture, quality=97)
    weights = slices / "models" / "model.pt"
    infer = workflow(
        "infer", "inference.yaml", dataset_dir=str(picture), output_dir=str(tmp_path / "out"),
        ckpt_path=str(weights), amp=False, threshold=0.4, **NETWORK,
    )  # fmt: skip
    infer.run()
    with Image.open(tmp_path / "out" / "slice_seg.png") as image:
        mask = np.asarray(image)
    assert mask.shape == (650, 650)
    assert set(np.unique(mask)) <= {0, 255}

    from scripts.network import DUNet

    network = DUNet(features=[4, 4, 8, 8, 8]).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    small = SlicePreprocessing(size=(64, 64), bone_hu=100)({"image": str(picture)})["image"].as_tensor()
    with torch.no_grad():
        probability = network(small[None, ..., 0]).sigmoid()
    large = torch.nn.functional.interpolate(probability, (640, 640), mode="bilinear", align_corners=False)
    expected = (large[0, 0] > 0.4).numpy().T[::-1, ::-1]
    assert (expected == (mask[5:-5, 5:-5] > 0)).mean() > 0.995  # MONAI resamples at other points


def test_the_command_line_names_missing_weights(bundle_run, slices, tmp_path):
    missing = tmp_path / "no" / "model.pt"
    run = bundle_run(
        "inferring", "inference.yaml", dataset_dir=slices / "ct" / "Patients_CT" / "049" / "brain" / "1.jpg",
        ckpt_path=missing, output_dir=tmp_path,
    )  # fmt: skip
    assert run.returncode != 0
    assert run.stderr.strip().splitlines()[-1].startswith(f"error: {missing}: expected trained weights")
