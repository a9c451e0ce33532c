"""A Python that has the packages that a published bundle pins, and nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def folder_of(archive: Path) -> Path:
    """The folder that was written beside the zip, with the same files."""
    return archive.parent / archive.name.split("_v")[0]


def plain(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def pins(folder: Path) -> dict[str, str]:
    """Versions of packages by name; torch, MONAI and numpy have fields of their own."""
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    own = {"torch": "pytorch_version", "monai": "monai_version", "numpy": "numpy_version"}
    own = {package: metadata[key] for package, key in own.items()}
    return {plain(name): pin for name, pin in (own | metadata["required_packages_version"]).items()}


def only_these(packages: list[str], folder: Path) -> Path:
    """Links to packages and to what they require in turn: this environment without the rest."""
    folder.mkdir()
    waiting, done = [plain(package) for package in packages], set()
    while waiting:
        package = waiting.pop()
        if package in done:
            continue
        done.add(package)
        try:
            found = distribution(package)
        except PackageNotFoundError:  # of torch, for other platforms
            continue
        needs = map(Requirement, found.requires or [])
        waiting += [
            plain(need.name) for need in needs if not need.marker or need.marker.evaluate({"extra": ""})
        ]
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(found.locate_file(top))
    return folder


def run_python(packages: Path, folder: Path, *arguments: str, **environment: str) -> str:
    """What a process prints that runs in `folder`, with these packages and variables of the environment."""
    variables = {**os.environ, "PYTHONPATH": str(packages), "OMP_NUM_THREADS": "1", **environment}
    result = subprocess.run(
        [sys.executable, "-S", *arguments],  # -S: without this environment's packages
        cwd=folder, env=variables, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
