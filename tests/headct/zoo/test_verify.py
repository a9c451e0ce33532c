"""A bundle without faults passes every check; each fault fails the check that is for it, and no other."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from monai.networks.nets import UNet

from headct.cli.main import main
from headct.zoo.archive import zip_bytes
from headct.zoo.verify import check_bundle
from headct.zoo.verify_files import file_checks, metadata_checks
from headct.zoo.verify_running import export, strict_load
from tools.core.errors import InputError

NETWORK = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [2]}
INFERENCE = {
    "bundle_root": ".",
    "device": "$torch.device('cpu')",
    "imports": ["$import torch"],
    "dataset_dir": "$@bundle_root + '/data'",
    "network_def": {"_target_": "UNet", **NETWORK},
    "dataset": {"_target_": "Dataset", "data": ["a", "b"]},
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset"},
    "inferer": {"_target_": "scripts.parts.make_inferer"},
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network_def",
        "inferer": "@inferer",
    },
    "run": ["$@evaluator.run()"],
}
TRAIN = {
    **{key: INFERENCE[key] for key in ("bundle_root", "device", "imports", "dataset_dir")},
    "network_def": INFERENCE["network_def"],
    "optimizer": {"_target_": "torch.optim.Adam", "params": "$@network_def.parameters()"},
    "train": {
        "inferer": {"_target_": "SimpleInferer"},
        "dataset": {"_target_": "Dataset", "data": ["a", "b"]},
        "dataloader": {"_target_": "DataLoader", "dataset": "@train#dataset"},
        "trainer": {
            "_target_": "SupervisedTrainer",
            "device": "@device",
            "max_epochs": 2,
            "train_data_loader": "@train#dataloader",
            "network": "@network_def",
            "optimizer": "@optimizer",
            "loss_function": {"_target_": "DiceLoss", "softmax": True},
            "inferer": "@train#inferer",
        },
    },
    "run": ["$@train#trainer.run()"],
}
EVALUATE = {key: INFERENCE[key] for key in ("dataset", "dataloader", "inferer", "evaluator", "run")}
IMAGE = {"type": "image", "format": "magnitude", "modality": "CT", "dtype": "float32", "value_range": [0, 1]}
SHAPE = {"spatial_shape": ["4*n", "4*n"], "is_patch_data": False}
METADATA = {
    "schema": "https://example.org/schema.json",
    "version": "0.2.0",
    "changelog": {"0.2.0": "second", "0.1.0": "first"},
    "monai_version": "1.6.1",
    "pytorch_version": "2.14.1",
    "numpy_version": "2.4.6",
    "required_packages_version": {},
    "network_data_format": {
        "inputs": {"image": {**IMAGE, **SHAPE, "num_channels": 1, "channel_def": {"0": "image"}}},
        "outputs": {"pred": {**IMAGE, **SHAPE, "num_channels": 2, "channel_def": {"0": "a", "1": "b"}}},
    },
}
SCHEMA = {
    "type": "object",
    "required": ["version", "changelog"],
    "properties": {"version": {"type": "string"}},
}


@pytest.fixture
def bundle(tmp_path) -> Path:
    """A small bundle of another project: JSON configuration, a function of its own, weights."""
    root = tmp_path / "small_bundle"
    for folder in ("configs", "docs", "models", "scripts"):
        (root / folder).mkdir(parents=True)
    (root / "LICENSE").write_text("Apache-2.0")
    (root / "docs" / "README.md").write_text("# Small")
    (root / "scripts" / "__init__.py").touch()
    (root / "scripts" / "parts.py").write_text(
        "from monai.inferers import SimpleInferer\n\n\ndef make_inferer():\n    return SimpleInferer()\n"
    )
    for name, content in {"inference": INFERENCE, "train": TRAIN, "evaluate": EVALUATE}.items():
        write(root / "configs" / f"{name}.json", content)
    write(root / "configs" / "metadata.json", METADATA)
    write(tmp_path / "schema.json", SCHEMA)
    torch.save(UNet(**NETWORK).state_dict(), root / "models" / "model.pt")
    return root


def write(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content))


def faults(results) -> dict[str, str]:
    return {result.name: result.reason for result in results if result.status == "FAIL"}


def test_a_sound_bundle_passes(bundle, capsys):
    """As a zip, on the command line."""
    shutil.make_archive(str(bundle), "zip", bundle.parent, bundle.name)
    assert main(["bundle", "verify", f"{bundle}.zip", f"--schema={bundle.parent / 'schema.json'}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    state = {line[6:].split(":")[0]: line[:4] for line in lines}
    assert len(state) == 20
    assert set(state.values()) == {"pass"}
    assert "pass  ckpt_export: scripted" in lines


def test_faults_of_what_runs(bundle):
    """All at once: a function that is gone, a key that is missing, a network that is another.

    The folder stays as it is.
    """
    config = json.loads(json.dumps(INFERENCE))
    config["inferer"]["_target_"] = "scripts.parts.gone"
    config["network_def"]["out_channels"] = 3
    del config["dataset_dir"]
    (bundle / "configs" / "evaluate.json").unlink()
    write(bundle / "configs" / "inference.json", config)
    before = {path: path.stat().st_mtime_ns for path in bundle.rglob("*")}
    results = list(check_bundle(str(bundle), bundle.parent / "schema.json"))
    found = faults(results)
    assert {path: path.stat().st_mtime_ns for path in bundle.rglob("*")} == before
    assert set(found) == {
        "every _target_ exists",
        "properties of inference",
        "verify_net_in_out",
        "weights load, nothing missing or left over",
        "ckpt_export",
    }
    assert [result.name for result in results if result.status == "skip"] == ["properties of evaluation"]
    assert "scripts.parts.gone in configs/inference.json" in found["every _target_ exists"]
    assert "expected dataset_dir in the configuration" in found["properties of inference"]
    assert "output channel number `3` doesn't match: `2`" in found["verify_net_in_out"]
    assert (
        "size mismatch" in found["weights load, nothing missing or left over"]
        or "state_dict" in found["weights load, nothing missing or left over"]
    )


@pytest.mark.parametrize("key", [None, "model", "state_dict"])
def test_weights_that_are_not_plain(bundle, key):
    """They pass, with what `monai.bundle.load` needs to take them."""
    state = UNet(**NETWORK).state_dict()
    torch.save({key: state} if key else state, bundle / "models" / "model.pt")
    note = f", not plain but under '{key}': monai.bundle.load needs key_in_ckpt='{key}'" if key else ""
    inference = bundle / "configs" / "inference.json"
    assert strict_load(bundle, inference, {}) == f"{len(state)} tensors{note}"
    assert export(bundle, inference, {}) == "scripted"


def test_folders_of_the_bundle_are_copied(bundle):
    """What runs leave at the root is not, whatever it is; a package of that name is part of the bundle."""
    parts = bundle / "scripts" / "data"
    parts.mkdir()
    (bundle / "scripts" / "parts.py").rename(parts / "parts.py")
    write(
        bundle / "configs" / "inference.json",
        {**INFERENCE, "inferer": {"_target_": "scripts.data.parts.make_inferer"}},
    )
    evaluate = {**EVALUATE, "inferer": {"_target_": "scripts.data.parts.make_inferer"}}
    write(bundle / "configs" / "evaluate.json", evaluate)
    for name in ("data", "eval"):
        (bundle / name).mkdir()
        (bundle / name / "notes.txt").write_text("/home/somebody/scans")
    assert faults(check_bundle(str(bundle), bundle.parent / "schema.json")) == {}


@pytest.mark.parametrize(
    ("damage", "name", "reason"),
    [
        (lambda root: (root / "LICENSE").unlink(), "LICENSE", "expected LICENSE, found none"),
        (
            lambda root: (root / "models" / "model.pt").unlink(),
            "weights",
            "expected models/model.pt, or its entry in large_files.yml, found neither",
        ),
        (
            lambda root: (root / "models" / "extra.pt").write_bytes(bytes(26_000_000)),
            "files up to 25 MB",
            "expected models/extra.pt (26.0 MB > 25 MB) in large_files.yml, found no entry",
        ),
        (
            lambda root: (root / "scripts" / "parts.py").write_text("PATH = '/home/somebody/data'"),
            "no paths of one machine",
            "expected no path of one machine in scripts/parts.py, found /home/s...",
        ),
        (
            lambda root: (root / "models" / "model.json").write_text(json.dumps({"data": "C:\\Users\\anna"})),
            "no paths of one machine",
            "expected no path of one machine in models/model.json, found C:\\\\U...",
        ),
        (
            lambda root: (root / "run.sh").write_text("cd /scratch/anna"),
            "no paths of one machine",
            "expected no path of one machine in run.sh, found /scratch/a...",
        ),
        (
            lambda root: (root / "models" / "net.ts").write_bytes(zip_bytes({"a": b"/home/anna/net.py" * 9})),
            "no paths of one machine",
            "expected no path of one machine in models/net.ts, found /home/a...",
        ),
        (
            lambda root: (root / "large_files.yml").write_text("large_files: [{path: a.pt}]"),
            "large_files.yml",
            "expected path, url and hash_val, found no url",
        ),
    ],
    ids=["license", "weights", "large", "personal", "windows", "script", "binary", "large-files"],
)
def test_faults_of_files(bundle, damage, name, reason):
    assert faults(file_checks(bundle)) == {}
    damage(bundle)
    found = faults(file_checks(bundle))
    assert list(found) == [name]
    assert reason in found[name]


def test_large_files_are_verified(bundle):
    """A listed file that is there must be the one that is listed; one that is not there need not."""
    weights = bundle / "models" / "model.pt"
    entry = {"path": "models/model.pt", "url": "https://example.org/model.pt", "hash_type": "sha256"}
    for digest, expected in (
        (hashlib.sha256(weights.read_bytes()).hexdigest(), set()),
        ("0" * 64, {"weights"}),
    ):
        (bundle / "large_files.yml").write_text(
            yaml.safe_dump({"large_files": [{**entry, "hash_val": digest}]})
        )
        assert set(faults(file_checks(bundle))) == expected
    weights.unlink()
    assert faults(file_checks(bundle)) == {}


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        ({"version": "0.3.0"}, "version in changelog", "expected version 0.3.0 in the changelog"),
        ({"version": 2, "changelog": {2: ""}}, "metadata schema", "version: 2 is not of type 'string'"),
        ({"numpy_version": ">=2"}, "packages pinned", "expected versions, found numpy >=2"),
        ({"required_packages_version": {"itk": "*"}}, "packages pinned", "expected versions, found itk *"),
    ],
)
def test_faults_of_metadata(bundle, changes, name, reason):
    schema = bundle.parent / "schema.json"
    assert faults(metadata_checks(bundle, schema)) == {}
    write(bundle / "configs" / "metadata.json", {**METADATA, **changes})
    found = faults(metadata_checks(bundle, schema))
    assert reason in found.pop(name)
    assert set(found) <= {"version in changelog"}  # the schema's fault is the changelog's too


def test_what_is_not_known_is_said(bundle, monkeypatch):
    """No schema at hand, a package that is not installed: neither passed nor failed."""
    monkeypatch.delenv("HEADCT_REAL_DATA", raising=False)
    changed = {
        **METADATA,
        "required_packages_version": {"pytest": pytest.__version__, "surely-no-such": "1.0"},
    }
    write(bundle / "configs" / "metadata.json", changed)
    skipped = {r.name: r.reason for r in metadata_checks(bundle) if r.status == "skip"}
    assert set(skipped) == {"metadata schema", "packages exist"}
    assert "surely-no-such==1.0" in skipped["packages exist"]
    assert "pytest" not in skipped["packages exist"]


def test_a_zip_that_grows_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.delenv("HEADCT_MAX_GB", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("configs/metadata.json", bytes(10**8))
    line = (
        r"bomb\.zip: expected a file that grows at most 60 times, found 0\.1 MB that become 0\.1 GB or more"
    )
    with pytest.raises(InputError, match=line):
        list(check_bundle(str(tmp_path / "bomb.zip")))
    assert not list((tmp_path / "temporary").iterdir())


def test_a_pipe_is_no_bundle(tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(InputError, match=r"pipe\.zip: expected a file, found a pipe"):
        list(check_bundle(str(tmp_path / "pipe.zip")))


def test_what_is_no_bundle(tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(InputError, match=r"text\.zip: expected a zip, found another file"):
        list(check_bundle(str(tmp_path / "text.zip")))
    with pytest.raises(InputError, match=r"bundle or one of .*found 'nothing'"):
        list(check_bundle("nothing"))


@pytest.mark.parametrize("damage", ["a byte", "a name", "password"])
def test_damaged_zips(bundle, damage):
    """Zips that begin and end as such."""
    path = Path(shutil.make_archive(str(bundle), "zip", bundle.parent, bundle.name))
    data = bytearray(path.read_bytes())
    if damage == "a byte":
        data[200:260] = bytes(60)
    if damage == "a name":  # in the header of the file, and not in the list at the end
        data[data.find(b"small_bundle/LICENSE")] ^= 4
    if damage == "password":
        for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            data[
                data.find(b"small_bundle/LICENSE", data.find(signature)) - (30 if flags == 6 else 46) + flags
            ] |= 1
    path.write_bytes(data)
    with pytest.raises(
        InputError, match=r"small_bundle\.zip: expected a (complete zip file|zip without password), found"
    ):
        list(check_bundle(str(path)))


@pytest.mark.parametrize("content", ["[]", "{", '{"required_packages_version": [1], "changelog": 3}'])
def test_metadata_of_another_kind(bundle, content):
    (bundle / "configs" / "metadata.json").write_text(content)
    assert faults(metadata_checks(bundle, bundle.parent / "schema.json"))


def test_a_bundle_of_ours():
    """All that runs does; weights and their figures are the business of each bundle's own tests."""
    results = {result.name: result for result in check_bundle("dunet")}
    running = [name for name in results if name.startswith(("every", "properties", "verify", "ckpt"))]
    assert len(running) == 6
    assert {name: results[name].reason for name in running if results[name].status != "pass"} == {}
