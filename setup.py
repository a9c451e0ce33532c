"""The wheel brings the bundles along, as `headct/_bundles`; all else stands in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BUNDLES = Path(__file__).resolve().parent / "bundles"
# what a bundle's runs leave in it (.gitignore names the same)
LEFT_BY_RUNS = ("data", "cache", "eval", "runs", "output")
LEFT_BY_RUNS += ("__pycache__", "training_state.pt", "original.*", "*.plan")


class BuildWithBundles(build_py):
    """Packages, and the bundles as the repository has them; an editable install uses `bundles` itself."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "headct", "_bundles")
            shutil.rmtree(target, ignore_errors=True)  # of an earlier build
            shutil.copytree(BUNDLES, target, ignore=shutil.ignore_patterns(*LEFT_BY_RUNS))


setup(cmdclass={"build_py": BuildWithBundles})
