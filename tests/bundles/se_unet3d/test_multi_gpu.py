"""Two processes train like one with twice the batch, and only the first writes."""

from __future__ import annotations

import subprocess
import sys

from tests.bundles.gloo import assert_same_training, train, written_logs


def test_two_processes_train_like_one_with_twice_the_batch(bundle, tiny, tmp_path):
    """The focal loss is a mean over voxels: the mean of two gradients is the gradient of both batches.

    Dropout, which each process draws for itself, is taken away, see `gloo`; the network has no batch
    normalisation.
    """
    settings = {**tiny, "max_epochs": 2, "input#symmetric": False}
    (one,) = train(bundle, tmp_path / "one", settings, 8, variants=["focal"])
    two = train(bundle, tmp_path / "two", settings, 8, processes=2, variants=["focal"])
    assert_same_training(one, two)
    assert not (tmp_path / "two" / "training_state.pt").exists()
    assert written_logs(tmp_path / "two") == written_logs(tmp_path / "one") == 2


def test_torchrun_refuses_a_misspelt_key(bundle, tmp_path):
    """Each process says so, and none of them makes data."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
    command += ["monai.bundle", "run", "training", "--phantom_dir", str(tmp_path / "data")]
    command += ["--config_file", "['configs/train.yaml','configs/multi_gpu_train.yaml']", "--bacth_size", "2"]
    result = subprocess.run(command, cwd=bundle, capture_output=True, text=True)
    assert result.returncode
    assert "error: bacth_size: expected a key of configs/train.yaml and configs/multi_gpu" in result.stderr
    assert "the nearest is batch_size" in result.stderr
    assert not list(tmp_path.iterdir())
