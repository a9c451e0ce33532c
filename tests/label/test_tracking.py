"""`--tracking mlflow` with a real MLflow, which is in this environment because MONAI Label brings it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean

import pytest
from mlflow import MlflowClient

from tools.phantom import write_phantoms

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
#: What makes a training a matter of seconds.
SLICES = {"input#size": "[64,64]", "patches_per_case": 2, "batch_size": 4}
SMALL = {
    "se_unet3d": {"roi_size": "[24,24,8]", "patches_per_case": 4, "batch_size": 4},
    "dunet": SLICES,
    "gan_unet2d": {**SLICES, "pretrain_epochs": 1, "max_epochs": 2},
    "unetpp_pretrained": {**SLICES, "use_imagenet_pretrain": False, "freeze_epochs": 0},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tracking") / "data"
    write_phantoms(folder, 2, seed=1, kind="any", shape=(64, 64, 20), spacing=(3, 3, 8), folds=2)
    return folder


@pytest.mark.parametrize("name", SMALL)
def test_training_and_evaluation_are_tracked(name, data, tmp_path):
    """Losses and validation of a training, and of an evaluation what its table says."""
    folders = {"dataset_dir": data, "cache_dir": tmp_path / "cache", "ckpt_dir": tmp_path / "models"}
    values = {"max_epochs": 1, **SMALL[name], **folders, "tracking": "mlflow"}
    environment = {**os.environ, "PYTHONPATH": str(BUNDLES.parent)}
    for run_id, files in (("training", ["train"]), ("evaluating", ["train", "evaluate"])):
        paths = [f"configs/{file}.yaml" for file in files]
        command = [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", str(paths)]
        for key, value in {**values, "output_dir": tmp_path / run_id}.items():
            command += [f"--{key}", str(value)]
        done = subprocess.run(command, cwd=BUNDLES / name, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    client, run = logged(tmp_path / "training")
    losses = client.get_metric_history(run.info.run_id, "train_loss")
    assert len(losses) >= 1
    assert "val_mean_dice" in run.data.metrics
    client, run = logged(tmp_path / "evaluating")
    with (tmp_path / "evaluating" / "metrics" / "per_case.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert run.data.metrics["dice"] == pytest.approx(mean(float(row["dice"]) for row in rows), abs=1e-5)


def logged(folder: Path):
    """The one run that was logged to a folder, and a client to ask more of it."""
    client = MlflowClient(f"sqlite:///{folder / 'mlruns.db'}")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert run.info.status == "FINISHED"
    return client, run
