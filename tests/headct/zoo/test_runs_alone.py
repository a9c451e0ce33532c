"""A published zip runs by itself: with the packages that it pins, and where nobody knows this project."""

from __future__ import annotations

import ast
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.headct.zoo.alone import folder_of, only_these, pins, plain, run_python
from tools.phantom import write_phantoms

ROOT = Path(__file__).resolve().parents[3]
NAMES = sorted(path.name for path in (ROOT / "bundles").iterdir())
OWN = ("tools", "scripts")


def imports(script: Path) -> set[str]:
    """First parts of the names that a script imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("name", NAMES)
def test_every_package_that_it_imports_is_pinned(published, name):
    folder = folder_of(published[name])
    pinned, known = pins(folder), packages_distributions()
    unpinned = set()
    for script in folder.rglob("*.py"):
        for module in imports(script) - {*sys.stdlib_module_names, *OWN}:
            # the name itself too: what `itk` imports comes from packages that the package `itk` requires
            if not {plain(package) for package in (module, *known.get(module, ()))} & pinned.keys():
                unpinned.add(f"{module} in {script.relative_to(folder)}")
    assert not unpinned


@pytest.mark.parametrize("name", NAMES)
def test_pins_are_the_versions_that_the_tests_run_with(published, name):
    lines = (ROOT / "requirements" / "py311.txt").read_text().splitlines()
    pinned = [line.partition(" ;")[0] for line in lines]  # without the platforms
    tested = dict(line.split("==") for line in pinned if "==" in line)
    assert {package: tested.get(package) for package in pins(folder_of(published[name]))} == pins(
        folder_of(published[name])
    )


@pytest.fixture
def alone(published, tmp_path) -> Callable[..., tuple[Path, Callable[..., str]]]:
    """A bundle unpacked elsewhere, and a Python that has its pinned packages and nothing else."""

    def unpack(name: str) -> tuple[Path, Callable[..., str]]:
        with zipfile.ZipFile(published[name]) as archive:
            archive.extractall(tmp_path)
        folder = tmp_path / folder_of(published[name]).name
        packages = only_these(list(pins(folder)), tmp_path / "packages")
        return folder, partial(run_python, packages, folder)

    return unpack


RUN = ("-m", "monai.bundle", "run")
BOTH = "['configs/train.yaml','configs/evaluate.yaml']"


def test_trains_evaluates_infers_and_loads(alone, tmp_path):
    folder, python = alone("se_unet3d")
    write_phantoms(tmp_path / "data", 2, seed=1, shape=(64, 64, 20), spacing=(3, 3, 8), folds=2)
    tiny = ["--dataset_dir", str(tmp_path / "data"), "--roi_size", "[24,24,8]", "--patches_per_case", "4"]
    train = ["--max_epochs", "1", "--batch_size", "4", "--ckpt_dir", str(tmp_path / "models")]
    python(*RUN, "training", "--config_file", "configs/train.yaml", *tiny, *train)
    python(*RUN, "evaluating", "--config_file", BOTH, *tiny, *train)
    assert (folder / "eval" / "metrics" / "per_case.csv").is_file()
    images = ["--dataset_dir", str(tmp_path / "data" / "images"), "--roi_size", "[24,24,8]"]
    python(*RUN, "inferring", "--config_file", "configs/inference.yaml", *images)
    assert len(list((folder / "output").glob("*_seg.nii.gz"))) == 2
    script = """
import monai.bundle, tools
from pathlib import Path
assert Path(tools.__file__).parent == Path.cwd() / "tools", tools.__file__
network = monai.bundle.load(Path.cwd().name, bundle_dir=str(Path.cwd().parent), source="monaihosting")
assert sum(p.numel() for p in network.parameters()) == 2263042 + 4 * 33  # six outputs, not two
files = {"meta_file": "configs/metadata.json", "logging_file": "configs/logging.conf"}
workflow = monai.bundle.create_workflow(config_file="configs/inference.yaml", workflow_type="infer", **files)
workflow.initialize()
print(type(workflow.evaluator).__name__)
"""
    assert "EachCaseEvaluator" in python("-c", script)


def test_2d_bundle_trains_evaluates_and_infers(alone, tmp_path):
    folder, python = alone("gan_unet2d")
    write_phantoms(tmp_path / "data", 2, seed=1, shape=(64, 64, 8), spacing=(3, 3, 16), folds=2)
    tiny = [
        "--dataset_dir",
        str(tmp_path / "data"),
        "--input#size",
        "[64,64]",
        "--ckpt_dir",
        str(tmp_path / "models"),
    ]
    train = ["--pretrain_epochs", "1", "--max_epochs", "2", "--batch_size", "4"]
    python(*RUN, "training", "--config_file", "configs/train.yaml", *tiny, *train)
    python(*RUN, "evaluating", "--config_file", BOTH, *tiny, *train)
    assert (folder / "eval" / "slice_metrics" / "per_case.csv").is_file()
    images = ["--dataset_dir", str(tmp_path / "data" / "images")]
    python(*RUN, "inferring", "--config_file", "configs/inference.yaml", *images)
    assert len(list((folder / "output").glob("*_seg.nii.gz"))) == 2
