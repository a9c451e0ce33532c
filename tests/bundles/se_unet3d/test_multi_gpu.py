"""Two processes train like one with twice the batch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

CONFIGS = "['configs/train.yaml','configs/variants/focal.yaml'{}]"


@pytest.fixture
def train(bundle, tiny):
    """Train on the tiny set without anything that two processes draw differently (dropout)."""

    def run(folder, batch_size: int, *launcher: str, overlay: str = "") -> dict[str, torch.Tensor]:
        overrides = {
            **tiny,
            "batch_size": batch_size,
            "ckpt_dir": folder,
            "output_dir": folder / "eval",
            "max_epochs": 2,
            "dropout": [0.0, 0.0, 0.0],
            "symmetric": False,
            "amp": False,
        }
        command = [sys.executable, "-m", *launcher, "monai.bundle", "run", "training"]
        command += ["--config_file", CONFIGS.format(overlay)]
        for key, value in overrides.items():
            command += [f"--{key}", str(value)]
        done = subprocess.run(
            command,
            cwd=bundle,
            capture_output=True,
            text=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return torch.load(folder / "model.pt", weights_only=True)

    return run


def test_two_processes_train_like_one_with_twice_the_batch(train, tmp_path):
    """The focal loss is a mean over voxels: the mean of two gradients is the gradient of both batches."""
    one = train(tmp_path / "one", 8)
    launcher = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
    two = train(tmp_path / "two", 4, *launcher, overlay=",'configs/multi_gpu_train.yaml'")
    assert one.keys() == two.keys()
    for name in one:
        assert torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-5), name
    assert not (tmp_path / "two" / "training_state.pt").exists()
    for folder in ("one", "two"):  # a log that nothing was written to has 88 bytes
        logs = (tmp_path / folder / "eval").glob("events.out.tfevents.*")
        assert sum(log.stat().st_size > 100 for log in logs) == 2, folder
