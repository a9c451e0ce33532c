"""A bundle is tested as it is used: in its own folder, by `python -m monai.bundle`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"


@pytest.fixture(scope="session")
def bundle(request: pytest.FixtureRequest) -> Path:
    """The bundle that the folder of the test file is named after; it becomes the working directory."""
    folder = BUNDLES / Path(request.node.items[0].fspath).parent.name
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    return folder


@pytest.fixture(scope="session")
def bundle_run(bundle: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run `python -m monai.bundle run RUN_ID` with config files and overrides; the output is text."""

    def run(run_id: str, *configs: str, **overrides: object) -> subprocess.CompletedProcess:
        files = "[" + ",".join(f"'configs/{config}'" for config in configs) + "]"
        command = [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", files]
        for key, value in overrides.items():
            command += [f"--{key}", str(value)]
        return subprocess.run(command, cwd=bundle, capture_output=True, text=True)

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Overrides that make a bundle's configs run in seconds: tiny synthetic data, folders of their own."""
    root = tmp_path_factory.mktemp("tiny")
    spacing, shape = (3.0, 3.0, 8.0), (64, 64, 20)
    phantom = {"cases": 4, "test_cases": 2, "seed": 3, "folds": 2, "kind": "iph_ivh", "shape": shape}
    return {
        "phantom_dir": root / "data",
        "phantom": {**phantom, "spacing": spacing},
        "cache_dir": root / "cache",
        "ckpt_dir": root / "models",
        "output_dir": root / "eval",
        "roi_size": [24, 24, 8],
        "patches_per_case": 8,
        "batch_size": 8,
        "max_epochs": 1,
        "fold": 0,
    }


@pytest.fixture(scope="session")
def tiny_slices(tiny: dict[str, object]) -> dict[str, object]:
    """`tiny` for a bundle of a 2D network: slices of 64 x 64 from volumes with hemorrhage of any type."""
    kept = {key: value for key, value in tiny.items() if key not in ("roi_size", "patches_per_case")}
    return {
        **kept,
        "phantom": {**tiny["phantom"], "kind": "any"},
        "input#size": [64, 64],
        "patches_per_case": 4,
    }
