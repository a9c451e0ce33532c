"""What the configurations of every bundle must hold.

Each bundle's `test_configs.py` imports these tests and adds its own; the fixtures `overrides` and
`training_files` say what is small there, and what trains without a network.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from monai.bundle import ConfigParser, ConfigWorkflow, verify_net_in_out

__all__ = [
    "overrides",
    "test_both_run_ids",
    "test_inference_sees_what_training_saw",
    "test_metadata_schema",
    "test_network_in_and_out",
    "test_properties",
    "test_tracking",
    "training_files",
]

#: Keys of both files that are no settings, or each file's own.
OWN = ("imports", "bundle_root", "output_dir", "dataset_dir", "initialize", "run")
RUN_IDS = ("training", "evaluating", "inferring")


@pytest.fixture
def overrides(tiny: dict[str, Any]) -> dict[str, Any]:
    """Keys that make the configurations small; a bundle of a 2D network returns `tiny_slices` instead."""
    return tiny


@pytest.fixture
def training_files() -> list[str]:
    """Configurations of a training."""
    return ["configs/train.yaml"]


def files_of(run_id: str, training_files: list[str]) -> list[str]:
    """Configurations that define a run."""
    files = {
        "evaluating": ["configs/train.yaml", "configs/evaluate.yaml"],
        "inferring": ["configs/inference.yaml"],
    }
    return files.get(run_id, training_files)


@pytest.mark.parametrize("run_id", RUN_IDS)
def test_properties(bundle, overrides, training_files, run_id):
    """What MONAI asks of a workflow is there."""
    values = {key: str(value) if isinstance(value, Path) else value for key, value in overrides.items()}
    if run_id == "inferring":
        values["dataset_dir"] = f"{values['phantom_dir']}/images"
    kind = "train" if run_id == "training" else "infer"
    workflow = ConfigWorkflow(files_of(run_id, training_files), workflow_type=kind, **values)
    workflow.initialize()
    assert workflow.check_properties() == []


@pytest.mark.parametrize(
    ("overlay", "engine", "handlers"),
    [
        ("train", "train#trainer#train_handlers", "train#handlers"),
        ("multi_gpu_train", "train#trainer#train_handlers", "train#handlers"),
        ("evaluate", "validate#evaluator#val_handlers", "handlers"),
        ("inference", "evaluator#val_handlers", "handlers"),
    ],
)
def test_tracking(bundle, tmp_path, overlay, engine, handlers):
    """MONAI finds where to put its MLflow handlers, and the engine takes them from there."""
    base = [] if overlay in ("train", "inference") else ["configs/train.yaml"]
    kind = "train" if "train" in overlay else "infer"
    files = [*base, f"configs/{overlay}.yaml"]
    parser = ConfigWorkflow(files, workflow_type=kind, tracking="mlflow", output_dir=str(tmp_path)).parser
    assert parser[engine].replace("::", "#") == f"@{handlers}"
    assert parser[handlers][-1]["_target_"] == "MLFlowHandler"


@pytest.mark.parametrize("run_id", RUN_IDS)
def test_both_run_ids(bundle, training_files, run_id):
    """The command line uses the paper's word, MONAI Label and the model zoo use `run`."""
    parser = ConfigParser()
    parser.read_config(files_of(run_id, training_files))
    assert parser[run_id] == "@run"
    assert parser["run"]


def test_inference_sees_what_training_saw(bundle, tmp_path):
    """Where nothing stands beside the weights, settings that are in both files have the same values."""
    training, inference = ConfigParser(), ConfigParser()
    training.read_config("configs/train.yaml")
    inference.read_config("configs/inference.yaml")
    inference["ckpt_path"] = str(tmp_path / "model.pt")
    shared = [key for key in training.config if key in inference.config and key not in OWN]
    plain = [key for key in shared if not isinstance(training[key], dict)]
    assert {"sw_batch_size", "window", "symmetric"} <= set(plain)
    for key in plain:
        assert inference.get_parsed_content(key) == training.get_parsed_content(key), key
    assert training["network_def"] == inference["network_def"]


def test_metadata_schema(bundle, real_data):
    schema = json.loads((real_data / "schema" / "meta_schema_20240725.json").read_text())
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    jsonschema.validate(metadata, schema)
    assert metadata["version"] in metadata["changelog"]


def test_network_in_and_out(bundle):
    """The network takes and gives what the metadata say."""
    verify_net_in_out("network_def", "configs/metadata.json", "configs/inference.yaml", device="cpu", n=4)
