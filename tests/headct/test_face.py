"""What `headct` offers from Python, and that nobody waits for torch before it is used."""

from __future__ import annotations

import subprocess
import sys

import headct
import headct.predict


def test_names_are_there():
    assert all(callable(getattr(headct, name)) for name in headct.__all__)
    assert headct.score.__module__ == "headct.scores.score"
    assert headct.prepare.__module__ == "headct.datasets.prepare"
    assert headct.predict.predict.__module__ == "headct.predict.run"


def test_nothing_heavy_is_imported_before_it_is_used():
    """Start-up matters: help on any command must not wait for torch and MONAI."""
    script = "import sys, headct, headct.predict, headct.predict.options; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "monai", "numpy", "pydicom"} & set(done.stdout.split())
