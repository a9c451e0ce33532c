"""The overlays `types` and `anatomy`: five types by the network of 2022, on heads made in training."""

from __future__ import annotations

import json

from tests.bundles.types_check import check_types, typed_data


def test_trains_evaluates_and_infers(bundle, tmp_path):
    small = {"roi_size": [48, 48, 16], "input#spacing": [3.0, 3.0, 10.0]}
    training = {"sampler#roi_size": "@roi_size"}
    overlays = ["instance2022", "types", "anatomy"]
    output = check_types(overlays, typed_data(tmp_path), tmp_path, small, training)
    assert output["image"].shape == (4, 1, 48, 48, 16)
    assert output["pred"].shape == (4, 6, 48, 48, 16)
    trained = json.loads((tmp_path / "model.json").read_text())
    assert trained["roi_size"] == [48, 48, 16]  # inference takes these windows
    assert (trained["features"], trained["se"]) == ([32, 64, 128, 256, 512], "skips")
