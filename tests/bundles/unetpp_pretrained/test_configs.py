"""The configurations hold what MONAI, the model zoo and MONAI Label look for."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import nibabel as nib
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_net_in_out

from tools.phantom import write_phantoms

WORKFLOWS = [
    ("train", ["configs/train.yaml", "configs/variants/from_scratch.yaml"]),
    ("infer", ["configs/train.yaml", "configs/evaluate.yaml"]),
    ("infer", ["configs/inference.yaml"]),
]
SMALL = {"encoder": "vgg11", "encoder_depth": 3, "decoder_channels": [16, 8, 8]}


@pytest.mark.parametrize(("kind", "files"), WORKFLOWS, ids=["train", "evaluate", "inference"])
def test_properties(bundle, tiny_slices, kind, files):
    overrides = {key: str(value) if isinstance(value, Path) else value for key, value in tiny_slices.items()}
    scans = {"dataset_dir": f"{overrides['phantom_dir']}/images"} if "inference.yaml" in files[0] else {}
    workflow = ConfigWorkflow(files, workflow_type=kind, **overrides, **scans, **SMALL)
    workflow.initialize()
    assert workflow.check_properties() == []


@pytest.mark.parametrize(
    ("files", "run_id"),
    [
        (files, run_id)
        for (_, files), run_id in zip(WORKFLOWS, ("training", "evaluating", "inferring"), strict=True)
    ],
)
def test_both_run_ids(bundle, files, run_id):
    """The command line uses the paper's word, MONAI Label and the model zoo use `run`."""
    parser = ConfigParser()
    parser.read_config(files)
    assert parser[run_id] == "@run"
    assert parser["run"]


def test_inference_sees_what_training_saw(bundle):
    """The keys that stand in both files have the same values, where no weights say otherwise."""
    training, inference = ConfigParser(), ConfigParser()
    training.read_config("configs/train.yaml")
    inference.read_config("configs/inference.yaml")
    inference["ckpt_path"] = "no/model.pt"
    for key in ("in_channels", "network_def", "shown"):
        assert training[key] == inference[key], key
    for key in ("threshold", *training["shown"]):
        assert inference.get_parsed_content(key) == training[key], key


def test_the_default_is_the_paper_s(bundle):
    """Inception, ImageNet's weights, frozen, one window."""
    parser = ConfigParser()
    parser.read_config("configs/train.yaml")
    assert parser["encoder"] == "inceptionv4"
    assert parser["use_imagenet_pretrain"] is True
    assert parser["freeze_epochs"] is None
    assert parser.get_parsed_content("in_channels") == 1


def test_metadata_schema(bundle, real_data):
    schema = json.loads((real_data / "schema" / "meta_schema_20240725.json").read_text())
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    jsonschema.validate(metadata, schema)
    assert metadata["version"] in metadata["changelog"]


def test_network_in_and_out(bundle):
    verify_net_in_out("network_def", "configs/metadata.json", "configs/inference.yaml", device="cpu", n=2)


def test_export(bundle, tmp_path):
    """The exported network gives what the network gives."""
    from scripts.network import EncoderUNetPlusPlus

    network = EncoderUNetPlusPlus(**SMALL).eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    ckpt_export(
        "network_def",
        str(tmp_path / "model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file="configs/metadata.json",
        config_file="configs/inference.yaml",
        key_in_ckpt="",
        **SMALL,
    )
    x = torch.rand(1, 1, 32, 48)
    with torch.no_grad():
        assert torch.allclose(torch.jit.load(tmp_path / "model.ts")(x), network(x), atol=1e-5)


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
    workflow = ConfigWorkflow(
        "configs/inference.yaml", workflow_type="infer", dataset_dir=str(tmp_path / "data" / "images"),
        output_dir=str(tmp_path / "out"),
    )  # fmt: skip
    workflow.initialize()
    workflow.run()
    item = json.loads((tmp_path / "data" / "dataset.json").read_text())["training"][0]
    truth = nib.load(tmp_path / "data" / item["label"]).get_fdata() > 0
    found = nib.load(tmp_path / "out" / f"{item['case']}_seg.nii.gz").get_fdata() > 0
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.6
