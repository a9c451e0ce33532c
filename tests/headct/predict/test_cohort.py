"""`predict` on two processes: the results of one process, byte by byte."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pydicom
import pytest

from headct.predict import predict
from headct.predict.model.chosen import ChosenModels


@pytest.fixture
def scans(tmp_path, head, support) -> Path:
    """A NIfTI file, a broken one, a DICOM study, and a zip of two, one broken, whose names are taken."""
    folder = tmp_path / "scans"
    support.save_nifti(folder / "a.nii.gz", head())
    (folder / "z_c.nii.gz").write_bytes(b"no scan")
    support.write_series(folder / "study", head(radius_mm=14.0))
    with zipfile.ZipFile(folder / "z.zip", "w") as archive:
        archive.write(folder / "a.nii.gz", "c.nii.gz")
        archive.write(folder / "z_c.nii.gz", "d.nii.gz")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, without the seconds that cases took."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.name == "report.json":
                assert json.loads(content)["seconds"]
                content = re.sub(rb'"seconds": \{.*?\}', b"", content, flags=re.DOTALL)
            if path.suffix == ".dcm":  # whose times are new each time; its own UIDs are not
                dataset = pydicom.dcmread(path)
                content = dataset.get("PixelData") or dataset.ContentSequence
                files[f"UID of {path.name}"] = dataset.SOPInstanceUID
            files[str(path.relative_to(folder))] = content
    return files


def test_two_processes_write_what_one_does(scans, bright, tmp_path):
    said: dict[int, list[str]] = {1: [], 2: []}
    results = {}
    for jobs, lines in said.items():
        out = tmp_path / f"out{jobs}"
        results[jobs] = predict(scans, bright, out, jobs=jobs, say=lines.append, uncertainty=False)
    one, two = (contents(tmp_path / f"out{jobs}") for jobs in said)
    assert {name: content for name, content in two.items() if one.get(name) != content} == {}
    assert list(one) == list(two)
    assert [case.name for case in results[2].cases] == [case.name for case in results[1].cases]
    assert len(results[2].cases) == 3
    assert {"a", "z_c"} < {case.name for case in results[2].cases}
    assert [failure.name for failure in results[2].failures] == ["z_d", "z_c_2"]  # in the order of the input
    assert results[2].failures == results[1].failures
    assert str(tmp_path / "scans" / "z.zip") in results[2].failures[0].message
    assert sorted(said[1]) == sorted(said[2])
    shutil.rmtree(tmp_path / "out2" / "a")
    again = predict(scans, bright, tmp_path / "out2", uncertainty=False)  # as after a stopped command
    assert [case.name for case in again.cases if not case.skipped] == ["a"]


def test_a_worker_keeps_its_models_until_something_of_them_changes(bright, tmp_path):
    """A task brings the models along; what is loaded stays."""
    folder = Path(shutil.copytree(bright, tmp_path / "bright"))
    (folder / "configs" / "variants").mkdir()  # as real bundles have

    def arrives() -> ChosenModels:
        return pickle.loads(pickle.dumps(ChosenModels(folder, None)))

    first = arrives()
    loaded = first.load("cpu")
    assert arrives() is first
    assert arrives().load("cpu") is loaded
    helper = folder / "scripts" / "helper.py"
    helper.write_text(helper.read_text().replace("SIGN = 1", "SIGN = -1"))
    other = arrives()
    assert other is not first
    assert other.load("cpu") is not loaded
    assert other.settings != first.settings  # so that cases that were done are done again
    (folder / "models" / "model.json").write_text('{"threshold": 0.3}')
    assert ChosenModels(folder, None).settings != other.settings


def test_the_example_for_slurm_runs_on_a_local_scheduler(scan, bright, tmp_path):
    """The same jobs, as processes of this machine."""
    script = Path(__file__).parents[3] / "examples" / "slurm.py"
    out = tmp_path / "out"
    command = [sys.executable, script, scan, "--out", out, "--bundle", bright, "--jobs", "1", "--local"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(out / "index.html")
    assert (out / "bleed" / "report.json").is_file()
