"""Who trains from NIfTI needs none of the extras: neither DICOM packages nor ITK nor ONNX."""

from __future__ import annotations

import csv
import os

import pytest

from tools.core.extras import EXTRAS

BLOCK = """
import sys
for package in {packages!r}:
    sys.modules[package] = None  # as if it were not installed
"""


@pytest.fixture
def without_extras(tmp_path, monkeypatch):
    """Python processes that start from now on do not find the packages of any extra."""
    packages = [package for own in EXTRAS.values() for package in own]
    (tmp_path / "sitecustomize.py").write_text(BLOCK.format(packages=packages))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))


def test_trains_and_evaluates(without_extras, bundle_run, tiny, tmp_path):
    settings = {**tiny, "ckpt_dir": tmp_path / "models", "output_dir": tmp_path / "eval"}
    for run_id, files in (("training", ["train.yaml"]), ("evaluating", ["train.yaml", "evaluate.yaml"])):
        done = bundle_run(run_id, *files, **settings)
        assert done.returncode == 0, done.stderr[-2000:]
    with (tmp_path / "eval" / "metrics" / "per_case.csv").open(newline="") as table:
        assert len(list(csv.DictReader(table))) == 2


def test_a_folder_of_dicom_says_what_to_install(without_extras, bundle_run, tiny, tmp_path):
    scan = tmp_path / "scan"
    scan.mkdir()
    (scan / "1.dcm").write_bytes(bytes(128) + b"DICM")
    done = bundle_run("inferring", "inference.yaml", dataset_dir=scan, output_dir=tmp_path / "output")
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: reading DICOM needs the package ")
    assert "pip install pydicom highdicom dcm2niix" in last
