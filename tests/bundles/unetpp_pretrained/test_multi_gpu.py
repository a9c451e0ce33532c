"""Two processes train like one with twice the batch, also when the encoder joins in after the first epoch."""

from __future__ import annotations

import torch

from tests.bundles.gloo import assert_same_training, train, written_logs


def test_two_processes_train_like_one_with_twice_the_batch(bundle, tiny_slices, tmp_path):
    """Without batch statistics, random changes, the Dice of a batch and Adam's tiny eps: see `gloo`."""
    from scripts.network import EncoderUNetPlusPlus

    small = {"encoder": "vgg11_bn", "encoder_depth": 3, "decoder_channels": [16, 8, 8]}
    weights = tmp_path / "imagenet.pt"
    torch.save(EncoderUNetPlusPlus(**small).encoder.state_dict(), weights)
    settings = {
        **tiny_slices, **{f"network_def#{key}": value for key, value in small.items()},
        "encoder_weights_path": weights, "input#size": [32, 32], "freeze_epochs": 1,
        "max_epochs": 2, "encoder_learning_rate": 1e-3, "augmentation#affine": None, "dice#batch": False,
        "optimizer#eps": 1e-3,
    }  # fmt: skip
    (one,) = train(bundle, tmp_path / "one", settings, 4)
    two = train(bundle, tmp_path / "two", settings, 4, processes=2)
    assert_same_training(one, two)
    for run in (one, *two):
        start, frozen, end = (epoch["network_def"] for epoch in run["weights"])
        encoder = [key for key in start if key.startswith("encoder.")]
        assert all(torch.equal(frozen[key], start[key]) for key in encoder)
        assert not any(torch.equal(end[key], start[key]) for key in encoder if "conv" in key)
        assert not torch.equal(frozen["head.weight"], start["head.weight"])
    assert written_logs(tmp_path / "two") == written_logs(tmp_path / "one") == 2
