"""The wheel, without the clone and without any extra, predicts with the bundles that it brings along."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tools.core.extras import EXTRAS
from tools.phantom import write_phantoms

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_CLONE = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
WITHOUT_CLONE["PYTHONDONTWRITEBYTECODE"] = "1"
BUNDLES = sorted(path.parent.name for path in ROOT.glob("bundles/*/configs"))


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Python of an environment with our wheel; what it depends on is that of the one that runs this test."""
    root = tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "tests", "demo", "site")
    shutil.copytree(ROOT, root / "source", ignore=left_out)  # a build leaves files beside the source
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", root, root / "source"]
    subprocess.run([*pip, *build], check=True, env=WITHOUT_CLONE)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / "venv"], check=True)
    python = root / "venv" / "bin" / "python"
    (wheel,) = root.glob("*.whl")
    subprocess.run(
        [*pip, "--python", python, "install", "--no-deps", "--no-compile", wheel],
        check=True,
        env=WITHOUT_CLONE,
    )
    (site,) = (root / "venv" / "lib").glob("*/site-packages")
    # a path in a .pth file: packages are found there, but not the clone, which a .pth file there leads to
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    missing = "import sys\nsys.modules |= dict.fromkeys({!r})\n"  # as if the extras were not installed
    (site / "sitecustomize.py").write_text(missing.format([name for own in EXTRAS.values() for name in own]))
    return python


def run(python: Path, folder: Path, *arguments: str | Path) -> str:
    command = [python, *arguments]
    done = subprocess.run(command, cwd=folder, env=WITHOUT_CLONE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_it_brings_the_bundles_and_the_types_along(python, tmp_path):
    code = "from headct.runs.find_bundle import BUNDLES; import tools; print(BUNDLES, tools.__file__)"
    bundles, tools = map(Path, run(python, tmp_path, "-c", code).split())
    environment = python.parents[1]
    assert bundles.is_relative_to(environment)
    assert sorted(path.name for path in bundles.iterdir()) == BUNDLES
    assert (bundles / "se_unet3d" / "models" / "model.pt").is_file()
    assert (tools.parent / "py.typed").is_file()
    tracked = subprocess.run(["git", "ls-files", "bundles"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode == 0:  # what runs left in the clone's bundles stays there
        files = {path.relative_to(bundles).as_posix() for path in bundles.rglob("*") if path.is_file()}
        assert {line.removeprefix("bundles/") for line in tracked.stdout.splitlines()} == files


def test_predict_reads_nifti_and_writes_nothing_into_the_package(python, tmp_path):
    write_phantoms(tmp_path / "heads", cases=1, test_cases=0, shape=(64, 64, 20), spacing=(3.0, 3.0, 8.0))
    (scan,) = (tmp_path / "heads" / "images").glob("*.nii.gz")
    environment = python.parents[1]
    before = set(environment.rglob("*"))
    run(python, tmp_path, "-m", "headct", "predict", scan, "--bundle", "dunet", "--out", tmp_path / "report")
    assert set(environment.rglob("*")) == before
    (result,) = (tmp_path / "report").rglob("*.json")
    assert json.loads(result.read_text())
