"""The configurations hold what MONAI, the model zoo and MONAI Label look for."""

from __future__ import annotations

import pytest
from monai.bundle import ConfigParser

from tests.bundles.config_checks import *  # noqa: F403
from tests.bundles.runs import check_shipped_weights

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
    check_shipped_weights(tmp_path)
