"""What `publish` writes for Hugging Face: MONAI downloads it from a Hub on this machine, and it runs."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import pytest
from huggingface_hub import ModelCard

from headct.zoo.publish import PREFIX, publish
from tests.headct.zoo.alone import only_these, pins, run_python
from tests.headct.zoo.loopback_hub import ATTRIBUTES, served
from tools.phantom import write_phantoms

NAME = f"{PREFIX}gan_unet2d"
# `python -m monai.bundle` where every connection to another machine is an error
MONAI_BUNDLE = """
import runpy, sys
def refuse(event, arguments):
    if event == "socket.connect" and arguments[1][0] not in ("127.0.0.1", "::1"):
        raise RuntimeError(f"connects to {arguments[1]}")
sys.addaudithook(refuse)
runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def layout(repository, schema, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    publish(str(repository / "bundles" / "gan_unet2d"), out=out, schema=schema)
    return out / "huggingface" / NAME


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_what_is_downloaded_is_the_bundle_and_runs(layout, tmp_path, monkeypatch):
    for variable in list(os.environ):
        if variable.startswith(("HF_", "HUGGING_FACE_")):
            monkeypatch.delenv(variable)
    packages = only_these(list(pins(layout)), tmp_path / "packages")
    home = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*"}
    source = ["--source", "huggingface_hub", "--repo", f"someone/{NAME}"]
    with served(f"someone/{NAME}", layout) as (address, log):
        download = ["download", "--name", NAME, *source, "--bundle_dir", str(tmp_path)]
        run_python(packages, tmp_path, "-c", MONAI_BUNDLE, *download, HF_ENDPOINT=address, **home)
    assert {status for *_, status in log} == {200, 302}
    arrived = {path: data for path, data in files(tmp_path / NAME).items() if not path.startswith(".cache/")}
    assert arrived.pop(ATTRIBUTES)
    assert arrived == files(layout)

    write_phantoms(tmp_path / "data", 1, seed=1, shape=(64, 64, 8), spacing=(3, 3, 16))
    (image,) = (tmp_path / "data" / "images").iterdir()
    run = ["run", "inferring", "--config_file", "configs/inference.yaml", "--dataset_dir", str(image)]
    run_python(packages, tmp_path / NAME, "-c", MONAI_BUNDLE, *run)
    (mask,) = (tmp_path / NAME / "output").glob("*_seg.nii.gz")
    assert nib.load(mask).shape == nib.load(image).shape


def test_hugging_face_reads_the_model_card(layout):
    """Its own package finds the license, the library and the figures of the header."""
    data = ModelCard.load(layout / "README.md").data
    assert (data.library_name, data.license, data.model_name) == ("monai", "apache-2.0", NAME)
    assert {result.metric_type: result.metric_value for result in data.eval_results}
