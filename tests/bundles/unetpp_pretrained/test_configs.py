"""The configurations hold what MONAI, the model zoo and MONAI Label look for."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import pytest
from monai.bundle import ConfigParser

from tests.bundles.config_checks import *  # noqa: F403
from tests.bundles.runs import workflow
from tools.phantom import write_phantoms

SMALL = {"encoder": "vgg11", "encoder_depth": 3, "decoder_channels": [16, 8, 8]}
SMALL = {f"network_def#{key}": value for key, value in SMALL.items()}


@pytest.fixture
def overrides(tiny_slices):
    return {**tiny_slices, **SMALL}


@pytest.fixture
def training_files():
    """Without ImageNet weights, which would have to be downloaded."""
    return ["configs/train.yaml", "configs/variants/from_scratch.yaml"]


def test_the_default_is_the_paper_s(bundle):
    """Inception, ImageNet's weights, frozen, one window."""
    parser = ConfigParser()
    parser.read_config("configs/train.yaml")
    assert parser["network_def#encoder"] == "inceptionv4"
    assert parser["use_imagenet_pretrain"] is True
    assert parser["freeze_epochs"] is None
    assert parser.get_parsed_content("network_def#in_channels") == 1


def test_shipped_weights(bundle, tmp_path):
    """Inference as it is configured finds the blood of a head that the training never saw."""
    assert Path("models/model.pt").stat().st_size < 25e6
    write_phantoms(
        tmp_path / "data",
        cases=1,
        folds=1,
        seed=901,
        kind="iph",
        shape=(256, 256, 12),
        spacing=(0.9, 0.9, 12.0),
    )
    folders = {"dataset_dir": tmp_path / "data" / "images", "output_dir": tmp_path / "out"}
    workflow("infer", "inference.yaml", **folders).run()
    item = json.loads((tmp_path / "data" / "dataset.json").read_text())["training"][0]
    truth = nib.load(tmp_path / "data" / item["label"]).get_fdata() > 0
    found = nib.load(tmp_path / "out" / f"{item['case']}_seg.nii.gz").get_fdata() > 0
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.6
