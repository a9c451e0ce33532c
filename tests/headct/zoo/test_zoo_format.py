"""Published Python files pass the format check of MONAI's model zoo, with its settings."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from headct.zoo.zoo_format import zoo_format
from tools.core.errors import InputError

SETTINGS = {
    "pyproject.toml": "[tool.black]\nline-length = 120\n",
    "setup.cfg": "[isort]\nknown_first_party = models\nprofile = black\nline_length = 120\n",
}


def test_the_zoo_s_own_check(published, tmp_path):
    """In its layout, where neither `tools` nor `scripts` lies at the root."""
    for package in ("black", "isort"):
        pytest.importorskip(package)
    for name, text in SETTINGS.items():
        (tmp_path / name).write_text(text)
    for number, archive in enumerate(published.values()):  # most of `tools` is the same in all
        folder = archive.parent / archive.name.split("_v")[0]
        for part in ("scripts", "tools")[: 2 - bool(number)]:
            shutil.copytree(folder / part, tmp_path / "models" / folder.name / part)
    for check in (["black", "--skip-magic-trailing-comma", "--check"], ["isort", "--check"]):
        run = subprocess.run(
            [sys.executable, "-m", *check, "."], cwd=tmp_path, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr[-1000:]


def test_what_changes():
    """Counted by hand from the zoo's settings: imports in one block, 120 columns, no trailing comma kept."""
    script = (
        b"import torch\n\nfrom tools.core.errors import InputError\nfrom monai.data import Dataset\n\n\n"
        b"def call(\n    first,\n    second,\n):\n    return first\n"
    )
    text = (
        b"import torch\nfrom monai.data import Dataset\nfrom tools.core.errors import InputError\n\n\n"
        b"def call(first, second):\n    return first\n"
    )
    files = {"tools/a.py": script, "configs/train.yaml": b"a:    1\n"}
    assert zoo_format(files) == {"tools/a.py": text, "configs/train.yaml": b"a:    1\n"}


def test_no_python():
    with pytest.raises(InputError, match=r"ruff: expected it to format .* found"):
        zoo_format({"scripts/a.py": b"def (:\n"})


def test_every_published_script(published):
    for archive in published.values():
        folder = archive.parent / archive.name.split("_v")[0]
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.py")}
        assert zoo_format(files) == files
        assert Path(folder, "tools", "__init__.py").is_file()
