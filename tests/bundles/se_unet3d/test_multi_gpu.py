"""Two processes train like one with twice the batch, and only the first writes."""

from __future__ import annotations

from tests.bundles.gloo import assert_same_training, train, written_logs


def test_two_processes_train_like_one_with_twice_the_batch(bundle, tiny, tmp_path):
    """The focal loss is a mean over voxels: the mean of two gradients is the gradient of both batches.

    Dropout, which each process draws for itself, is taken away, see `gloo`; the network has no batch
    normalisation.
    """
    settings = {**tiny, "max_epochs": 2, "symmetric": False}
    (one,) = train(bundle, tmp_path / "one", settings, 8, variants=["focal"])
    two = train(bundle, tmp_path / "two", settings, 8, processes=2, variants=["focal"])
    assert_same_training(one, two)
    assert not (tmp_path / "two" / "training_state.pt").exists()
    assert written_logs(tmp_path / "two") == written_logs(tmp_path / "one") == 2
