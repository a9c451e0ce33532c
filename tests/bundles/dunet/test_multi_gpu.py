"""Two processes train, and only the first writes."""

from __future__ import annotations

import os
import subprocess
import sys

import torch


def test_two_processes(bundle, tiny_slices, tmp_path):
    files = "['configs/train.yaml','configs/multi_gpu_train.yaml']"
    settings = {
        **tiny_slices, "ckpt_dir": tmp_path / "models", "output_dir": tmp_path / "eval", "batch_size": 2,
        "amp": False, "checkpoint_every": 1, "network_def#features": [4, 4, 8, 8, 8],
    }  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
    command += ["monai.bundle", "run", "training", "--config_file", files]
    command += [part for key, value in settings.items() for part in (f"--{key}", str(value))]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(command, cwd=bundle, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-3000:]
    for name in ("model.pt", "model_epoch=1.pt"):
        weights = torch.load(tmp_path / "models" / name, weights_only=True)
        assert not any(key.startswith("module.") for key in weights)
    # two training cases with 4 slices each, in batches of 2 in each of 2 processes
    assert run.stdout.count("train_mean_dice best value") <= 1
    logs = (tmp_path / "eval").glob("events.out.tfevents.*")
    assert sum(log.stat().st_size > 100 for log in logs) == 2
