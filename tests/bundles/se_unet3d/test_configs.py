"""The configurations hold what MONAI, the model zoo and MONAI Label look for."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from monai.bundle import ConfigParser, ConfigWorkflow, verify_net_in_out

WORKFLOWS = [
    ("train", ["configs/train.yaml"]),
    ("infer", ["configs/train.yaml", "configs/evaluate.yaml"]),
    ("infer", ["configs/inference.yaml"]),
    ("train", ["configs/train.yaml", "configs/variants/demo.yaml"]),
]


@pytest.mark.parametrize(("kind", "files"), WORKFLOWS, ids=["train", "evaluate", "inference", "demo"])
def test_properties(bundle, tiny, kind, files):
    overrides = {key: str(value) if isinstance(value, Path) else value for key, value in tiny.items()}
    scans = {"dataset_dir": f"{overrides['phantom_dir']}/images"} if "inference.yaml" in files[0] else {}
    workflow = ConfigWorkflow(files, workflow_type=kind, **overrides, **scans)
    workflow.initialize()
    assert workflow.check_properties() == []


@pytest.mark.parametrize(
    ("files", "run_id"),
    [
        (files, run_id)
        for (_, files), run_id in zip(WORKFLOWS, ("training", "evaluating", "inferring"), strict=False)
    ],
)
def test_both_run_ids(bundle, files, run_id):
    """The command line uses the paper's word, MONAI Label and the model zoo use `run`."""
    parser = ConfigParser()
    parser.read_config(files)
    assert parser[run_id] == "@run"
    assert parser["run"]


def test_metadata_schema(bundle, real_data):
    schema = json.loads((real_data / "schema" / "meta_schema_20240725.json").read_text())
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    jsonschema.validate(metadata, schema)
    assert metadata["version"] in metadata["changelog"]


def test_network_in_and_out(bundle):
    verify_net_in_out("network_def", "configs/metadata.json", "configs/inference.yaml", device="cpu", n=4)
