"""The public face of each package of tools: its names are there, and nothing is imported before their use."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tools

FOLDER = Path(tools.__file__).parent
BUNDLES = FOLDER.parent / "bundles"
ROOMS = sorted(path.parent.name for path in FOLDER.glob("*/__init__.py"))
HEAVY = ("torch", "monai", "numpy", "nibabel", "ignite", "cc3d", "itk", "pydicom", "PIL", "scipy")


def test_nothing_lies_flat():
    assert [path.name for path in FOLDER.glob("*.py")] == ["__init__.py"]


def test_faces_import_nothing_heavy():
    program = f"import sys; import {', '.join(f'tools.{room}' for room in ROOMS)}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(run.stdout.split())


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_of_a_face_is_there(room):
    face = importlib.import_module(f"tools.{room}")
    assert face.__doc__
    modules = {path.stem for path in (FOLDER / room).glob("*.py")}
    assert not modules & set(face.__all__), "a submodule would take the place of the name"
    for name in face.__all__:
        assert name.isupper() or getattr(face, name).__module__.startswith(f"tools.{room}.")
    with pytest.raises(AttributeError, match=f"module 'tools.{room}' has no attribute 'nothing'"):
        _ = face.nothing


def test_bundles_import_tools_but_never_the_application():
    """Scripts and configurations; what `make lint` sees of tools it cannot see of bundles."""
    files = [file for kind in ("py", "yaml", "json") for file in BUNDLES.glob(f"*/*/**/*.{kind}")]
    assert len(files) > 50
    naming = [file.name for file in files if re.search(r"\bheadct\.[a-z]|import headct", file.read_text())]
    assert not naming
