"""The overlays `types` and `anatomy`: five types, on heads that are made while training runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.bundles.runs import check_evaluated_slices, check_inferred, held_out_case, workflow
from tools.phantom import write_phantoms

SMALL = {"network_def#features": 8, "discriminator_features": 4, "input#size": [64, 64]}
MADE = {  # of no label maps here
    "train#dataset#sources": [{"shape": [64, 64, 12], "spacing": [3.0, 3.0, 10.0]}],
    "sampler#pool": 2,
    "sampler#renewed": 1,
    "sampler#roi_size": [32, 32],
    "sampler#patches_per_case": 4,
    "sampler#batch_size": 4,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, object]:
    root = tmp_path_factory.mktemp("types")
    spacing, shape = (3.0, 3.0, 10.0), (64, 64, 12)
    write_phantoms(root / "data", cases=3, seed=3, folds=3, kind="edh+iph", shape=shape, spacing=spacing)
    return {"dataset_dir": str(root / "data"), "cache_dir": str(root / "cache")}


@pytest.mark.parametrize("adversarial", [True, False])
def test_trains_evaluates_and_infers(bundle, data, tmp_path, adversarial):
    overlays = ["train.yaml", "variants/types.yaml", "variants/anatomy.yaml"]
    folders = {"ckpt_dir": str(tmp_path), "output_dir": str(tmp_path)}
    begins = {"pretrain_epochs": 0 if adversarial else 1}
    run = workflow(
        "train", *overlays, **data, **folders, **SMALL, **MADE, **begins,
        max_epochs=1, val_interval=1, heads_dir=str(tmp_path / "heads"),
    )  # fmt: skip
    trainer = run.parser.get_parsed_content("train#trainer")
    run.run()
    (output,) = trainer.state.output
    assert output["image"].shape == (4, 3, 32, 32)  # in three windows
    assert output["pred"].shape == (4, 6, 32, 32)
    assert ("discriminator_loss" in output) == adversarial
    assert len(list((tmp_path / "heads").glob("*/*.pt"))) == 2

    evaluation = workflow("infer", "train.yaml", "evaluate.yaml", *overlays[1:], **data, **folders, **SMALL)
    evaluation.run()
    found = check_evaluated_slices(tmp_path, data["dataset_dir"])
    assert "dice_iph" in (tmp_path / "metrics" / "per_case.csv").read_text().splitlines()[0].split(",")

    trained = json.loads((tmp_path / "model.json").read_text())
    assert trained["out_channels"] == 6
    assert trained["windows"] == [[-20, 100], [0, 80], [20, 60]]
    case = held_out_case(data["dataset_dir"])
    image = Path(data["dataset_dir"]) / case["image"]
    workflow(
        "infer", "inference.yaml", dataset_dir=str(image), output_dir=str(tmp_path / "out"),
        ckpt_path=str(tmp_path / "model.pt"),
    ).run()  # fmt: skip
    check_inferred(tmp_path / "out" / f"{case['case']}_seg.nii.gz", image, found)


def test_the_discriminator_sees_a_map_of_each_type(bundle, data):
    run = workflow("train", "train.yaml", "variants/types.yaml", **data, **SMALL)
    discriminator = run.parser.get_parsed_content("discriminator_def")
    first = next(module for module in discriminator.modules() if isinstance(module, torch.nn.Conv2d))
    assert first.in_channels == 3 + 5
