"""What the configurations of every bundle must hold.

Each bundle's `test_configs.py` imports these tests and adds its own; the fixtures `overrides` and
`training_files` say what is small there, and what trains without a network.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import monai.bundle
import pytest
from monai.bundle import ConfigParser, ConfigWorkflow, verify_net_in_out

from tools.core.errors import one_line
from tools.core.settings import check_values
from tools.phantom import write_phantoms

__all__ = [
    "overrides",
    "test_a_bad_scan_stops_no_other",
    "test_a_bad_value_ends_every_run",
    "test_a_misspelt_key_ends_every_run",
    "test_a_misspelt_key_is_one_line",
    "test_an_unknown_region_ends_a_training",
    "test_both_run_ids",
    "test_inference_sees_what_training_saw",
    "test_metadata_schema",
    "test_network_in_and_out",
    "test_properties",
    "test_tracking",
    "test_values_of_all_configurations",
    "training_files",
]

#: Keys of both files that are no settings, or each file's own.
OWN = ("imports", "bundle_root", "output_dir", "dataset_dir", "preprocessing", "initialize", "run")
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


@pytest.mark.parametrize(
    ("files", "key"),
    [
        (["train"], "train#trainer#max_epoch"),
        (["train", "multi_gpu_train"], "dataset_dri"),
        (["train", "evaluate"], "validate::evaluatr"),
        (["inference"], "dataset_dri"),
    ],
)
def test_a_misspelt_key_ends_every_run(bundle, tmp_path, monkeypatch, files, key):
    """Before any data are made; the same configuration takes the key that was meant."""
    program = str(Path(monai.bundle.__file__).with_name("__main__.py"))
    paths = [f"configs/{file}.yaml" for file in files]
    monkeypatch.setattr(sys, "argv", [program, "run", "--config_file", str(paths), f"--{key}", "x"])
    values = {"phantom_dir": str(tmp_path / "data")} if "train" in files else {}
    workflow = ConfigWorkflow(paths, **values, **{key: "x"})
    with pytest.raises(RuntimeError) as error:
        workflow.initialize()
    message = str(error.value.__cause__)
    assert message.startswith(f"{key}: expected a key of configs/{files[0]}.yaml")
    nearest = {"dataset_dri": "dataset_dir", "train#trainer#max_epoch": "train#trainer#max_epochs"}
    assert message.endswith(f"the nearest is {nearest.get(key, 'validate#evaluator')}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("files", "key", "value"),
    [
        (["train"], "max_epochs", -5),
        (["train"], "seed", "abc"),  # which the first steps use themselves
        (["train", "multi_gpu_train"], "fold", 0.7),
        (["train", "evaluate"], "input#window", [100, 0]),
        (["inference"], "sw_batch_size", 0),
        (["inference"], "device", "xyz"),
    ],
)
def test_a_bad_value_ends_every_run(bundle, tmp_path, monkeypatch, files, key, value):
    """Before any data are read or made."""
    program = str(Path(monai.bundle.__file__).with_name("__main__.py"))
    monkeypatch.setenv("LOCAL_RANK", "0")
    paths = [f"configs/{file}.yaml" for file in files]
    monkeypatch.setattr(sys, "argv", [program, "run", "--config_file", str(paths), f"--{key}={value}"])
    values = {"phantom_dir": str(tmp_path / "data")} if "train" in files else {}
    workflow = ConfigWorkflow(paths, **values, **{key: value})
    with pytest.raises(RuntimeError) as error:
        workflow.initialize()
    message = str(error.value.__cause__)
    assert message.startswith(f"{key}: expected ")
    assert message.endswith(f", found {value!r}")
    assert not list(tmp_path.iterdir())


def test_an_unknown_region_ends_a_training(bundle, tmp_path):
    workflow = ConfigWorkflow("configs/train.yaml", phantom_dir=str(tmp_path), sampling={"brian": 1.0})
    with pytest.raises(RuntimeError) as error:
        workflow.initialize()
    assert "regions should be among lesion, image, brain" in str(error.value.__cause__)
    assert not list(tmp_path.iterdir())


def test_values_of_all_configurations(bundle, monkeypatch):
    """All variants, with the files that they lie over."""
    monkeypatch.setenv("LOCAL_RANK", "0")
    checked = 0
    for variant in [None, *sorted(Path("configs/variants").glob("*.yaml"))]:
        for name in ("train", "inference"):
            parser = ConfigParser()
            try:
                parser.read_config([f"configs/{name}.yaml", *([str(variant)] if variant else [])])
            except KeyError:
                continue  # an overlay of the other one
            check_values(parser)
            checked += 1
    assert checked > len(list(Path("configs/variants").glob("*.yaml")))


def test_a_misspelt_key_is_one_line(bundle_run, tmp_path):
    result = bundle_run("training", "train.yaml", phantom_dir=tmp_path / "data", dataset_dri="/data")
    assert result.returncode
    line = (
        "error: dataset_dri: expected a key of configs/train.yaml, found none of this name; the nearest is "
    )
    assert result.stderr.splitlines()[-1] == f"{line}dataset_dir"
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_bad_scan_stops_no_other(bundle, overrides, tmp_path):
    """It is named at the end, and the masks of the others are there."""
    scans = tmp_path / "scans"
    write_phantoms(tmp_path, cases=1, seed=3, shape=(64, 64, 12), spacing=(3.0, 3.0, 12.0))
    (tmp_path / "images").rename(scans)
    (scans / "a_bad_one.nii.gz").write_text("no NIfTI")
    small = {key: overrides[key] for key in ("roi_size",) if key in overrides}
    workflow = ConfigWorkflow(
        "configs/inference.yaml",
        workflow_type="infer",
        dataset_dir=str(scans),
        output_dir=str(tmp_path / "out"),
        **small,
    )
    workflow.initialize()
    with pytest.raises(RuntimeError) as error:
        workflow.run()
    line = one_line(error.value)
    assert line is not None
    assert line.startswith(f"1 of 2 cases failed: {scans}/a_bad_one.nii.gz: expected")
    assert [path.name for path in (tmp_path / "out").glob("*_seg.nii.gz")] == ["case_000_seg.nii.gz"]


def test_inference_sees_what_training_saw(bundle, tmp_path):
    """Where nothing stands beside the weights, settings that are in both files have the same values."""
    training, inference = ConfigParser(), ConfigParser()
    training.read_config("configs/train.yaml")
    inference.read_config("configs/inference.yaml")
    inference["ckpt_path"] = str(tmp_path / "model.pt")
    shared = {key for key in training.config if key in inference.config} - set(OWN)
    assert {"sw_batch_size", "input", "network_def"} <= shared
    for part in ("input", "network_def"):
        assert set(training[part]) == set(inference[part])
        shared |= {f"{part}#{key}" for key in training[part]}
    for key in shared:
        if not isinstance(training[key], dict):
            assert inference.get_parsed_content(key) == training.get_parsed_content(key), key


def test_metadata_schema(bundle, real_data):
    schema = json.loads((real_data / "schema" / "meta_schema_20240725.json").read_text())
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    jsonschema.validate(metadata, schema)
    assert metadata["version"] in metadata["changelog"]


def test_network_in_and_out(bundle):
    """The network takes and gives what the metadata say."""
    verify_net_in_out("network_def", "configs/metadata.json", "configs/inference.yaml", device="cpu", n=4)
