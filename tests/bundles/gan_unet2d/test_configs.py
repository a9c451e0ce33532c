"""The configurations hold what MONAI, the model zoo and MONAI Label look for."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_net_in_out

WORKFLOWS = [
    ("train", ["configs/train.yaml"]),
    ("infer", ["configs/train.yaml", "configs/evaluate.yaml"]),
    ("infer", ["configs/inference.yaml"]),
]


@pytest.mark.parametrize(("kind", "files"), WORKFLOWS, ids=["train", "evaluate", "inference"])
def test_properties(bundle, tiny_slices, kind, files):
    overrides = {key: str(value) if isinstance(value, Path) else value for key, value in tiny_slices.items()}
    scans = {"dataset_dir": f"{overrides['phantom_dir']}/images"} if "inference.yaml" in files[0] else {}
    workflow = ConfigWorkflow(files, workflow_type=kind, **overrides, **scans)
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


def test_inference_sees_what_training_saw(bundle, tmp_path):
    """Where nothing stands beside the weights, the keys that stand in both files have the same values."""
    training, inference = ConfigParser(), ConfigParser()
    training.read_config("configs/train.yaml")
    inference.read_config("configs/inference.yaml")
    inference.update({"ckpt_path": str(tmp_path / "model.pt")})
    shared = (
        "model",
        "features",
        "dropout",
        "encoder",
        "size",
        "window",
        "windows",
        "symmetric",
        "threshold",
    )
    for key in (*shared, "in_channels", "shown"):
        assert training.get_parsed_content(key) == inference.get_parsed_content(key), key
    assert training["network_def"] == inference["network_def"]


def test_metadata_schema(bundle, real_data):
    schema = json.loads((real_data / "schema" / "meta_schema_20240725.json").read_text())
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    jsonschema.validate(metadata, schema)
    assert metadata["version"] in metadata["changelog"]


def test_network_in_and_out(bundle):
    verify_net_in_out("network_def", "configs/metadata.json", "configs/inference.yaml", device="cpu", n=4)


def test_export(bundle, tmp_path):
    """The exported network gives what the network gives."""
    from scripts.models import make_network

    network = make_network("unet6", features=32, dropout=0.5).eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    ckpt_export(
        "network_def",
        str(tmp_path / "model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file="configs/metadata.json",
        config_file="configs/inference.yaml",
        key_in_ckpt="",
    )
    x = torch.rand(1, 1, 32, 48)
    with torch.no_grad():
        assert torch.allclose(torch.jit.load(tmp_path / "model.ts")(x), network(x), atol=1e-5)


def test_shipped_weights_fit_and_find_blood(bundle):
    """As inference loads them: a bright disc in a grey brain is outlined, a brain without one left alone."""
    parser = ConfigParser()
    parser.read_config("configs/inference.yaml")
    network = parser.get_parsed_content("network_def").eval()
    weights = torch.load("models/model.pt", weights_only=True)
    assert Path("models/model.pt").stat().st_size < 25e6
    network.load_state_dict(weights)
    x, y = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    head = torch.hypot((x - 128) / 85, (y - 128) / 105)
    noise = 0.03 * torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    plain = torch.where(head < 0.92, 0.45 + noise, 1.0).where(head < 1, torch.tensor(0.0)).clamp(0, 1)
    disc = torch.hypot(x - 100, y - 150) < 14
    bleeding = torch.where(disc, 0.72 + noise, plain)
    with torch.no_grad():
        found = network(torch.stack([plain, bleeding])[:, None]).sigmoid()[:, 0] > 0.5
    assert found[0].sum() < 30
    assert 2 * (found[1] & disc).sum() / (found[1].sum() + disc.sum()) > 0.6
