"""Two processes train both networks like one with twice the batch, through both phases."""

from __future__ import annotations

from tests.bundles.gloo import assert_same_training, train, written_logs


def test_two_processes_train_like_one_with_twice_the_batch(bundle, tiny_slices, tmp_path):
    """Without batch statistics, dropout, random changes, the Dice of a batch, Adam's tiny eps: see `gloo`."""
    settings = {
        **tiny_slices, "pretrain_epochs": 1, "max_epochs": 3, "network_def#features": 4,
        "discriminator_features": 4,
        "learning_rate": 1e-3, "augmentation#affine": None, "loss#batch": False,
        "optimizer#eps": 1e-3, "discriminator_optimizer#eps": 1e-3,
    }  # fmt: skip
    networks = ("network_def", "discriminator_def")
    (one,) = train(bundle, tmp_path / "one", settings, 4, networks=networks)
    two = train(bundle, tmp_path / "two", settings, 4, processes=2, networks=networks)
    assert "discriminator_loss" not in one["losses"][0]  # pre-training
    assert "discriminator_loss" in one["losses"][-1]
    assert_same_training(one, two)
    assert written_logs(tmp_path / "two") == written_logs(tmp_path / "one") == 3
