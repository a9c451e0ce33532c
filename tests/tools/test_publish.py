"""What is published runs by itself, is the same each time, and is refused when something is wrong with it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import yaml

from tools.errors import InputError
from tools.phantom import write_phantoms
from tools.publish import publish
from tools.publish.archive import zip_bytes
from tools.publish.modules import needed_modules
from tools.verify import check_bundle

ROOT = Path(__file__).resolve().parents[2]
NAME = "hemorrhage_ct_segmentation_se_unet3d"


def git(repository: Path, *arguments: str) -> None:
    author = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", "-C", str(repository), *author, *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A repository with one bundle, whose weights are random, and `tools`; all committed."""
    root = tmp_path_factory.mktemp("repository")
    ignore = shutil.ignore_patterns("__pycache__", "models", "data", "cache", "eval", "output", "runs")
    for folder in ("tools", "bundles/se_unet3d"):
        shutil.copytree(ROOT / folder, root / folder, ignore=ignore)
    bundle = root / "bundles" / "se_unet3d"
    spec = importlib.util.spec_from_file_location("network", bundle / "scripts" / "network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.SEUNet(in_channels=2, out_channels=2)
    (bundle / "models").mkdir()
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "all")
    return root


@pytest.fixture(scope="module")
def schema(tmp_path_factory) -> str:
    """A part of MONAI's, so that the tests need neither a copy of it nor a network."""
    path = tmp_path_factory.mktemp("schema") / "schema.json"
    path.write_text(json.dumps({"type": "object", "required": ["version", "network_data_format"]}))
    return str(path)


@pytest.fixture(scope="module")
def published(repository, schema, tmp_path_factory) -> Path:
    out = str(tmp_path_factory.mktemp("dist"))
    return publish(str(repository / "bundles" / "se_unet3d"), out=out, schema=schema)


def test_zip_is_the_same_byte_for_byte(repository, published, schema, tmp_path):
    later = tmp_path / "later"
    subprocess.run(["find", str(repository), "-name", "*.yaml", "-exec", "touch", "{}", ";"], check=True)
    again = publish(str(repository / "bundles" / "se_unet3d"), out=str(later), schema=schema)
    assert again.read_bytes() == published.read_bytes()
    assert zip_bytes({"b": b"2", "a": b"1"}) == zip_bytes({"a": b"1", "b": b"2"})


def test_what_lies_in_it(repository, published):
    version = json.loads((repository / "bundles/se_unet3d/configs/metadata.json").read_text())["version"]
    assert published.name == f"{NAME}_v{version}.zip"
    with zipfile.ZipFile(published) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {NAME}
    inside = {name[len(NAME) + 1 :] for name in names}
    assert {"configs/train.json", "configs/train.yaml", "configs/inference.json"} <= inside
    assert {"LICENSE", "configs/metadata.json", "models/model.pt", "scripts/network.py"} <= inside
    assert {"tools/__init__.py", "tools/sampling.py", "tools/phantom/writer.py"} <= inside
    assert not {"tools/crossval.py", "tools/__main__.py", "tools/datasets/prepare.py"} & inside
    assert not [name for name in names if "__pycache__" in name]
    info = json.loads((published.parent / "model_info.json").read_text())
    checksum = hashlib.sha1(published.read_bytes()).hexdigest()
    assert info == {published.stem: {"checksum": checksum, "source": published.name}}
    card = (published.parent / "huggingface" / NAME / "README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert header["library_name"] == "monai"
    assert card.endswith((repository / "bundles/se_unet3d/docs/README.md").read_text())


def test_every_import_of_the_published_tools_is_there(published):
    """Independent of how the modules were found: each import statement below `tools` resolves there."""
    folder = published.parent / NAME
    for script in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(script.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tools"):
                path = folder / node.module.replace(".", "/")
                assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file(), (
                    script,
                    node.module,
                )


def test_module_that_is_none_is_named(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "train.yaml").write_text("loss: {_target_: tools.lozz.Loss} # tools.comment\n")
    with pytest.raises(InputError, match=r"train\.yaml.*tools\.lozz"):
        needed_modules(tmp_path, ROOT / "tools")


@pytest.fixture
def bundle(repository, tmp_path) -> Path:
    """A copy of the repository's bundle to break."""
    shutil.copytree(repository, tmp_path / "copy")
    return tmp_path / "copy" / "bundles" / "se_unet3d"


def change(path: Path, *gone: str, **values: object) -> None:
    metadata = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in metadata.items() if key not in gone}))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda b: change(b / "configs/metadata.json", version="9.9.9"), "version 9.9.9 in the changelog"),
        (
            lambda b: change(b / "configs/metadata.json", eval_metrics={"mean_dice": 0.123}),
            "mean_dice = 0.123",
        ),
        (
            lambda b: change(b / "configs/metadata.json", "network_data_format"),
            "metadata.json: metadata: 'network_data_format' is a required property",
        ),
        (lambda b: change(b / "configs/metadata.json", "schema"), "metadata.json: expected the key schema"),
        (lambda b: (b / "configs/metadata.json").write_text("{"), "metadata.json: expected JSON"),
        (lambda b: (b / "models/model.pt").unlink(), "models/model.pt, or its entry"),
        (lambda b: (b / "models/model.ts").write_bytes(bytes(26_000_000)), r"model.ts \(26.0 MB > 25 MB\)"),
        (lambda b: (b / "docs/README.md").write_text("see /home/anna/scans"), "no path of one machine"),
        (lambda b: (b / "LICENSE").unlink(), "the file LICENSE"),
        (lambda b: (b / "configs/new.yaml").touch(), "all changes to be committed"),
    ],
)
def test_refused(bundle, schema, fault, message, tmp_path):
    fault(bundle)
    if "committed" not in message:
        git(bundle, "add", "-A")
        git(bundle, "commit", "-q", "-m", "broken")
    with pytest.raises(InputError, match=message):
        publish(str(bundle), out=str(tmp_path / "dist"), schema=schema)
    assert not (tmp_path / "dist").exists()


def test_metadata_that_nobody_can_check_are_refused(repository, tmp_path, monkeypatch):
    """No copy of the schema, and no network."""

    def no_network(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("HEADCT_REAL_DATA", str(tmp_path))
    monkeypatch.setattr("tools.metadata_schema.download_url", no_network)
    with pytest.raises(InputError, match=r"expected the schema of metadata\.json.*no network"):
        publish(str(repository / "bundles" / "se_unet3d"), out=str(tmp_path / "dist"))
    assert not (tmp_path / "dist").exists()


def test_verify_finds_no_fault_in_it(published, schema):
    """Every line of the zip, run with the `tools` that it brings."""
    results = list(check_bundle(str(published), schema))
    assert len(results) == 19
    other = [result for result in results if result.status != "pass"]
    # where other versions of the packages are installed, it is not known whether the pinned ones exist
    assert [result for result in other if (result.name, result.status) != ("packages exist", "skip")] == []


def test_another_version_is_refused(repository, tmp_path):
    with pytest.raises(InputError, match=r"expected version 7\.0\.0"):
        publish(str(repository / "bundles" / "se_unet3d"), version="7.0.0", out=str(tmp_path))


def test_runs_alone(published, tmp_path):
    """Unpacked elsewhere, in a Python that knows this project not: train, evaluate, infer, load."""
    with zipfile.ZipFile(published) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / NAME
    # -S leaves out site-packages with its link to this project; PYTHONPATH brings the packages back
    packages = str(Path(torch.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": packages, "OMP_NUM_THREADS": "1"}

    def python(*arguments: str) -> str:
        result = subprocess.run(
            [sys.executable, "-S", *arguments], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    write_phantoms(tmp_path / "data", 2, seed=1, shape=(64, 64, 20), spacing=(3, 3, 8), folds=2)
    tiny = ["--dataset_dir", str(tmp_path / "data"), "--roi_size", "[24,24,8]", "--patches_per_case", "4"]
    train = ["--max_epochs", "1", "--batch_size", "4", "--ckpt_dir", str(tmp_path / "models")]
    run = ["-m", "monai.bundle", "run"]
    python(*run, "training", "--config_file", "configs/train.yaml", *tiny, *train)
    both = "['configs/train.yaml','configs/evaluate.yaml']"
    python(*run, "evaluating", "--config_file", both, *tiny, *train)
    assert (folder / "eval" / "metrics" / "per_case.csv").is_file()
    images = ["--dataset_dir", str(tmp_path / "data" / "images"), "--roi_size", "[24,24,8]"]
    python(*run, "inferring", "--config_file", "configs/inference.yaml", *images)
    assert len(list((folder / "output").glob("*_seg.nii.gz"))) == 2
    script = """
import monai.bundle, tools
from pathlib import Path
assert Path(tools.__file__).parent == Path.cwd() / "tools", tools.__file__
network = monai.bundle.load(Path.cwd().name, bundle_dir=str(Path.cwd().parent), source="monaihosting")
assert sum(p.numel() for p in network.parameters()) == 2263042
files = {"meta_file": "configs/metadata.json", "logging_file": "configs/logging.conf"}
workflow = monai.bundle.create_workflow(config_file="configs/inference.yaml", workflow_type="infer", **files)
workflow.initialize()
print(type(workflow.evaluator).__name__)
"""
    assert "SupervisedEvaluator" in python("-c", script)
