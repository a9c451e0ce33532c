"""Two processes train like one with twice the batch, and only the first writes."""

from __future__ import annotations

import torch

from tests.bundles.gloo import assert_same_training, train, written_logs


def test_two_processes_train_like_one_with_twice_the_batch(bundle, tiny_slices, tmp_path):
    """Without batch statistics, dropout, random changes and the Dice of a batch: see `gloo`."""
    settings = {
        **tiny_slices, "max_epochs": 3, "learning_rate": 1e-3, "network_def#features": [4, 4, 8, 8, 8],
        "augmentation#affine": None, "loss#batch": False, "checkpoint_every": 1,
    }  # fmt: skip
    (one,) = train(bundle, tmp_path / "one", settings, 4)
    two = train(bundle, tmp_path / "two", settings, 4, processes=2)
    assert_same_training(one, two)
    assert written_logs(tmp_path / "two") == written_logs(tmp_path / "one") == 2
    for name in ("model.pt", "model_epoch=1.pt"):
        weights = torch.load(tmp_path / "two" / name, weights_only=True)
        assert not any(key.startswith("module.") for key in weights)


def test_a_time_limit_ends_both_after_the_same_batch(bundle, tiny_slices, tmp_path):
    settings = {**tiny_slices, "max_epochs": 500, "val_interval": 500, "time_limit": 3}
    settings["network_def#features"] = [4, 4, 8, 8, 8]
    first, second = train(bundle, tmp_path / "two", settings, 4, processes=2)
    assert 0 < len(first["seen"]) == len(second["seen"]) < 500
