"""The overlays `types` and `anatomy`: five types, on heads that are made while training runs."""

from __future__ import annotations

import json

import pytest
import torch

from tests.bundles.runs import check_evaluated_slices, workflow
from tests.bundles.types_check import check_types, typed_data

SMALL = {"network_def#features": 8, "discriminator_features": 4, "input#size": [64, 64]}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, object]:
    return typed_data(tmp_path_factory.mktemp("types"))


@pytest.mark.parametrize("adversarial", [True, False])
def test_trains_evaluates_and_infers(bundle, data, tmp_path, adversarial):
    begins = {"pretrain_epochs": 0 if adversarial else 1}
    output = check_types(["types", "anatomy"], data, tmp_path, SMALL, begins)
    assert output["image"].shape == (4, 3, 32, 32)  # in three windows
    assert output["pred"].shape == (4, 6, 32, 32)
    assert ("discriminator_loss" in output) == adversarial
    check_evaluated_slices(tmp_path, data["dataset_dir"])
    trained = json.loads((tmp_path / "model.json").read_text())
    assert trained["windows"] == [[-20, 100], [0, 80], [20, 60]]


def test_the_discriminator_sees_a_map_of_each_type(bundle, data):
    run = workflow("train", "train.yaml", "variants/types.yaml", **data, **SMALL)
    discriminator = run.parser.get_parsed_content("discriminator_def")
    first = next(module for module in discriminator.modules() if isinstance(module, torch.nn.Conv2d))
    assert first.in_channels == 3 + 5
