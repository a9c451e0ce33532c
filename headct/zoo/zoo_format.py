"""Python files as the model zoo's own check wants them: black and isort, with its settings.

ruff, with which this repository is formatted, writes what these two leave as it is.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tools.core.errors import InputError

__all__ = ["zoo_format"]

COMMON = ("--quiet", "--isolated", "--no-cache", "--line-length=120", "--target-version=py310")
ISORT = "lint.isort.split-on-trailing-comma=false"
SORT = ("check", "--select=I", "--fix", f"--config={ISORT}")
OWN = 'lint.isort.known-third-party=["tools", "scripts"]'  # which the zoo's isort does not find at its root
FORMAT = ("format", "--config=format.skip-magic-trailing-comma=true", f"--config={ISORT}")


def zoo_format(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files, those in Python formatted.

    Args:
        files: content by path.

    Raises:
        InputError: ruff is not installed, or a file is no Python.
    """
    with tempfile.TemporaryDirectory() as temporary:
        scripts = {path: Path(temporary, path) for path in files if path.endswith(".py")}
        for path, copy in scripts.items():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(files[path])
        for arguments in ((*SORT, f"--config={OWN}"), FORMAT):
            command = [sys.executable, "-m", "ruff", *arguments, *COMMON, temporary]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                reason = (run.stderr.strip() or run.stdout.strip()).replace(f"{temporary}/", "").splitlines()
                raise InputError(
                    f"ruff: expected it to format the bundle's files (pip install ruff), found: {reason[-1]}"
                )
        return {**files, **{path: copy.read_bytes() for path, copy in scripts.items()}}
