"""The overlays `types`, `anatomy` and `weights`: five types, on heads that are made while training runs."""

from __future__ import annotations

from tests.bundles.runs import check_evaluated_slices
from tests.bundles.types_check import check_types, typed_data


def test_trains_evaluates_and_infers(bundle, tmp_path):
    data = typed_data(tmp_path)
    output = check_types(["types", "anatomy", "weights"], data, tmp_path, {"input#size": [64, 64]})
    assert output["image"].shape == (4, 3, 32, 32)  # in three windows
    assert output["pred"].shape == (4, 6, 32, 32)
    check_evaluated_slices(tmp_path, data["dataset_dir"])
