"""The real MONAI Label server with our bundles, on loopback; `make test-label` runs it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import monailabel
import nibabel as nib
import numpy as np
import pytest
import requests
import torch

from headct.zoo.json_configurations import json_configurations
from tools.phantom import write_phantoms

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["dunet", "gan_unet2d", "se_unet3d", "unetpp_pretrained"]


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> Path:
    """MONAI Label's sample app with links to the bundles, and three phantoms to look at."""
    root = tmp_path_factory.mktemp("label")
    samples = Path(monailabel.__file__).parent / "sample-apps"
    if not samples.is_dir():
        samples = Path(sys.prefix) / "monailabel" / "sample-apps"
    shutil.copytree(samples / "monaibundle", root / "monaibundle")
    ignore = shutil.ignore_patterns("__pycache__", "data", "cache", "eval", "output", "runs")
    (root / "monaibundle" / "model").mkdir()
    for name in NAMES:
        # linked as docs/monai-label.md says, but to copies: training writes models/model.pt
        shutil.copytree(ROOT / "bundles" / name, root / "bundles" / name, ignore=ignore)
        (root / "monaibundle" / "model" / name).symlink_to(root / "bundles" / name)
    write_train_json(root / "bundles" / "se_unet3d", patches_per_case=64)  # not 3,000
    write_train_json(root / "bundles" / "gan_unet2d")
    write_train_json(root / "bundles" / "dunet")
    # nothing is downloaded; and the encoder stays as it is, so that one can see where its weights come from
    pretrained = root / "bundles" / "unetpp_pretrained"
    weights = str(pretrained / "models" / "model.pt")
    write_train_json(pretrained, encoder_weights_path=weights, freeze_epochs=None, val_interval=1)
    write_phantoms(root / "set", 3, seed=5, shape=(96, 96, 20), spacing=(2.4, 2.4, 8), folds=2)
    (root / "studies").mkdir()
    for path in (root / "set" / "images").glob("*.nii.gz"):
        shutil.copy(path, root / "studies")
    return root


def write_train_json(bundle: Path, **changes: object) -> None:
    """Training as a published bundle configures it, for the network of model.pt, but for the changes."""
    config = {**json_configurations(bundle)["configs/train.json"], **changes}
    (bundle / "configs" / "train.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def server(app) -> Iterator[str]:
    """Address of the running server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(app / "monaibundle")]
    command += ["--studies", str(app / "studies"), "--host", "127.0.0.1", "--port", str(port)]
    for key, value in {"models": ",".join(NAMES), "zoo_source": "ngc", "sam2": "false"}.items():
        command += ["--conf", key, value]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (app / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=app)
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            requests.get(f"{address}/info/", timeout=30).raise_for_status()
            break
        except requests.RequestException:
            assert process.poll() is None, (app / "server.log").read_text()[-3000:]
            time.sleep(0.5)
    else:
        pytest.fail("the server does not answer:\n" + (app / "server.log").read_text()[-3000:])
    yield address
    process.terminate()
    process.wait(30)


def infer(server: str, model: str, image: str, folder: Path, **more: str) -> nib.Nifti1Image:
    query = {"image": image, "output": "image", **more}
    parameters = {"device": "cpu"}
    answer = requests.post(
        f"{server}/infer/{model}", params=query, data={"params": json.dumps(parameters)}, timeout=600
    )
    assert answer.status_code == 200, answer.text
    path = folder / "answer.nii.gz"
    path.write_bytes(answer.content)
    return nib.load(path)


def test_numpy_is_the_old_one():
    """What MONAI Label forces on users; our configurations run under it here."""
    assert int(np.__version__.split(".")[0]) == 1


def test_every_model_is_listed_with_its_labels(server):
    models = requests.get(f"{server}/info/", timeout=60).json()["models"]
    assert sorted(models) == NAMES
    for name in NAMES:
        channels = json.loads((ROOT / "bundles" / name / "configs" / "metadata.json").read_text())
        channels = channels["network_data_format"]["outputs"]["pred"]["channel_def"]
        expected = {label.lower() for label in channels.values()} - {"background"}
        assert set(models[name]["labels"]) == expected
        assert models[name]["type"] == "segmentation"


@pytest.mark.parametrize("name", NAMES)
def test_mask_is_that_of_the_bundle(server, app, name, tmp_path):
    answer = infer(server, name, "case_000", tmp_path)
    scan = app / "studies" / "case_000.nii.gz"
    command = [sys.executable, "-m", "monai.bundle", "run", "inferring", "--amp", "false"]
    command += ["--config_file", "configs/inference.yaml", "--dataset_dir", str(scan)]
    command += ["--output_dir", str(tmp_path / "own")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=app / "bundles" / name, env=environment, check=True, capture_output=True)
    own, image = nib.load(tmp_path / "own" / "case_000_seg.nii.gz"), nib.load(scan)
    for mask in (answer, own):
        assert mask.shape == image.shape
        assert np.allclose(mask.affine, image.affine, atol=1e-4)
    a, b = (np.asarray(mask.dataobj) for mask in (answer, own))
    assert a.any()
    assert np.array_equal(a, b)  # Dice 1.0


def test_uploaded_image_in_a_session(server, app, tmp_path):
    name = NAMES[0]
    with (app / "studies" / "case_001.nii.gz").open("rb") as stream:
        files = {"files": ("scan.nii.gz", stream, "application/gzip")}
        session = requests.put(f"{server}/session/", files=files, timeout=60).json()["session_id"]
    answer, of_study = (
        np.asarray(infer(server, name, image, tmp_path, **more).dataobj)
        for image, more in (("", {"session_id": session}), ("case_001", {}))
    )
    assert answer.any()
    assert np.array_equal(answer, of_study)


def test_bad_image_is_an_error_and_the_server_lives(server, app):
    (app / "studies" / "broken.nii.gz").write_bytes(b"no image")
    query = {"image": "broken", "output": "image"}
    answer = requests.post(f"{server}/infer/{NAMES[0]}", params=query, timeout=120)
    assert answer.status_code >= 400
    assert requests.get(f"{server}/info/", timeout=60).status_code == 200


@pytest.mark.parametrize("name", NAMES)
def test_training_changes_the_weights(server, app, name):
    for case in ("case_000", "case_001", "case_002"):
        with (app / "set" / "labels" / f"{case}.nii.gz").open("rb") as stream:
            answer = requests.put(
                f"{server}/datastore/label",
                params={"image": case, "tag": "final"},
                files={"label": (f"{case}.nii.gz", stream)},
                timeout=60,
            )
            assert answer.status_code == 200, answer.text
    weights = app / "monaibundle" / "model" / name / "models" / "model.pt"
    before = torch.load(weights, weights_only=True)
    request = {"max_epochs": 1, "val_split": 0.34, "device": "cpu", "multi_gpu": False, "name": "t"}
    answer = requests.post(f"{server}/train/{name}", json=request, params={"run_sync": True}, timeout=1800)
    assert answer.status_code == 200, answer.text
    after = torch.load(weights, weights_only=True)
    assert before.keys() == after.keys()
    frozen = [key for key in before if name == "unetpp_pretrained" and key.startswith("encoder.")]
    changed = [key for key in before if not torch.equal(before[key].float(), after[key].float())]
    assert len(changed) > (len(before) - len(frozen)) // 2, (app / "server.log").read_text()[-3000:]
    assert not set(frozen) & set(changed)  # those of model.pt, and not trained
