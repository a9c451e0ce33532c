"""The shipped weights: a small plain file, and the figures that the model card states of them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from headct.datasets import prepare
from tests.bundles.runs import workflow


def test_plain_and_small(bundle):
    from scripts.network import DUNet

    path = bundle / "models" / "model.pt"
    weights = torch.load(path, weights_only=True)
    assert path.stat().st_size < 25e6
    assert {value.dtype for name, value in weights.items() if "weight" in name} == {torch.float16}
    assert not any(DUNet(in_channels=3, out_channels=6).load_state_dict(weights))
    notes = json.loads(path.with_suffix(".json").read_text())
    assert notes["shipped"]
    assert notes["size"] == [256, 256]


def test_real_slices_score_what_the_card_says(bundle, real_data, tmp_path):
    """All 21 slices with hemorrhage of the real sample: Dice, IoU and hits, to the third digit."""
    prepare("ct_ich_v1", real_data / "ct_ich_v1.0.0_sample", tmp_path / "all.json", folds=0, progress=False)
    items = json.loads((tmp_path / "all.json").read_text())["training"]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": [], "testing": items}))
    folders = {"dataset_dir": tmp_path, "output_dir": tmp_path / "eval", "class_names": "$None"}
    files = ("train.yaml", "evaluate.yaml", "variants/types.yaml", "variants/weights.yaml")
    workflow("infer", *files, amp=False, **folders).run()
    with (tmp_path / "eval" / "slice_metrics" / "per_case.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 21
    card = (Path(bundle) / "docs" / "README.md").read_text()
    line = re.search(r"\| these weights \| ([\d.]+) \| ([\d.]+) \| 0.\d\d \((\d+) of 21\) \|", card)
    assert line
    for stated, column in zip(line.groups(), ("dice", "iou"), strict=False):
        mean = np.mean([float(row[column]) for row in rows])
        assert mean == pytest.approx(float(stated), abs=0.003)  # bfloat16 or not
    assert abs(sum(int(row["hit"]) for row in rows) - int(line[3])) <= 1
