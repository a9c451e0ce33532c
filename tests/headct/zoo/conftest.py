"""The four bundles in a repository of their own, and published from there."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from headct.zoo.publish import publish

ROOT = Path(__file__).resolve().parents[3]
LOCAL = ("__pycache__", "data", "cache", "eval", "output", "runs")  # what runs leave, and git ignores


def git(repository: Path, *arguments: str) -> None:
    author = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", "-C", str(repository), *author, *arguments], check=True, capture_output=True)


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    """The bundles and `tools` as they are here; all committed."""
    root = tmp_path_factory.mktemp("repository")
    caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tools", root / "tools", ignore=caches)
    shutil.copytree(ROOT / "bundles", root / "bundles", ignore=shutil.ignore_patterns(*LOCAL))
    shutil.copy(ROOT / ".gitignore", root)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "all")
    return root


@pytest.fixture(scope="session")
def schema(tmp_path_factory) -> str:
    """A part of MONAI's, so that the tests need neither a copy of it nor a network."""
    path = tmp_path_factory.mktemp("schema") / "schema.json"
    path.write_text(json.dumps({"type": "object", "required": ["version", "network_data_format"]}))
    return str(path)


@pytest.fixture(scope="session")
def published(repository, schema, tmp_path_factory) -> dict[str, Path]:
    """The zip of each bundle, by the bundle's name; beside it what else `publish` writes."""
    out = str(tmp_path_factory.mktemp("dist"))
    bundles = sorted((repository / "bundles").iterdir())
    return {bundle.name: publish(str(bundle), out=out, schema=schema) for bundle in bundles}


@pytest.fixture
def bundle(repository, tmp_path) -> Path:
    """A copy of a bundle, in a repository, to break."""
    git(tmp_path, "clone", "-q", str(repository), "copy")
    return tmp_path / "copy" / "bundles" / "se_unet3d"
