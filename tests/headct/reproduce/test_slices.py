"""Hssayeni 2020 and D-Unet reproduced: data and splits, tables by hand, one experiment run for real."""

from __future__ import annotations

import json

import pytest
import torch

from headct.reproduce import dunet, hssayeni2020, reproduce
from headct.reproduce.slices_data import SliceData, slice_data
from tools.core.errors import InputError
from tools.data.splits import LEAK_WARNING
from tools.report.handler import case_row

PHANTOM = {"cases": 6, "seed": 4, "kind": "any", "shape": [64, 64, 8], "spacing": [3.3, 3.3, 18.0]}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


def test_data_by_patient_with_a_test_fold(work):
    data = slice_data(work, PHANTOM, folds=3)
    folder = data.write(work / "fold_1", 1)
    written = json.loads((folder / "dataset.json").read_text())
    parts = {key: {item["patient"] for item in written[key]} for key in ("training", "testing")}
    assert not parts["training"] & parts["testing"]
    assert len(parts["training"] | parts["testing"]) == 6
    assert {item["fold"] for item in written["training"]} == {0, 2}
    assert set(data.patients) == {f"{49 + k:03d}" for k in range(6)}
    assert "synthetic" in data.text


def test_data_by_slice_is_balanced_and_leaks(work):
    data = slice_data(work, PHANTOM, folds=3, by="slice", test=0.1, balance=True)
    every = [*data.training, *data.testing]
    assert 2 * sum(item["hemorrhage"] for item in every) == len(every)
    assert len(data.testing) == pytest.approx(len(every) / 10, abs=1)
    folds = {item["patient"]: set() for item in every}
    for item in data.training:
        folds[item["patient"]].add(item["fold"])
    assert max(map(len, folds.values())) > 1


def test_threshold_experiment_for_real(work):
    """Grid search, test and page by the command, on one fold; then everything is found done."""
    keys = {"phantom": PHANTOM, "input#size": [96, 96]}
    for _ in range(2):
        reproduce(
            "hssayeni2020", "quick", work / "out", work / "runs", keys=keys, folds=3, rows=["threshold"]
        )
    page = (work / "out" / "hssayeni2020.md").read_text()
    line = next(line for line in page.splitlines() if line.startswith("| threshold"))
    assert line.startswith("| threshold | 0.08 | 0.135 | 0.")
    assert "| U-Net on windows | 0.218 | 0.315 | not run |" in page


def test_dunet_by_slice_for_real(work):
    """Both networks on one fold that leaks patients, as the paper's do, by the command."""
    tiny = {"input#size": [32, 32], "max_epochs": 1, "checkpoint_every": 1, "val_interval": 1}
    tiny["phantom"] = PHANTOM
    reproduce("dunet", "quick", work / "out", work / "runs", 2, tiny, splits=["slice"], only_folds=[0])
    page = (work / "out" / "dunet.md").read_text()
    assert "| D-Unet | slice | 800 |" in page
    assert LEAK_WARNING in page


def test_unknown_names(work):
    with pytest.raises(InputError, match="rows: expected some of threshold, slices, windows, found magic"):
        reproduce("hssayeni2020", "quick", rows=["magic"], work_dir=work)
    with pytest.raises(InputError, match="splits: expected some of patient, slice, found scan"):
        reproduce("dunet", "quick", splits=["scan"], work_dir=work)
    with pytest.raises(InputError, match="only_folds: expected some of 0, 1, 2, found 3"):
        reproduce("dunet", "quick", only_folds=[0, 3], work_dir=work)


def slice_row(case: str, patient: str, types: str | None, tp: int, fp: int, fn: int) -> dict:
    return {**case_row(case, None, torch.tensor([[tp, fp, fn]]), 1.0), "patient": patient, "types": types}


DATA = SliceData([], [], {"1": {"age": 5}, "2": {"age": 30}}, "synthetic slices", "5 folds by patient")


def test_hssayeni_page_by_hand():
    rows = [
        slice_row("a", "1", "edh", 6, 2, 2),  # dice 0.75
        slice_row("b", "1", None, 0, 1, 0),
        slice_row("c", "2", "sdh", 0, 0, 4),  # missed
        slice_row("d", "2", None, 0, 0, 0),
    ]
    counts = torch.tensor([[2, 1, 1, 0], [1, 1, 1, 1], [1, 0, 2, 1], [1, 0, 2, 1], [0, 0, 2, 2]])
    page = hssayeni2020.make_page("cmd", DATA, 1, {"windows": rows}, {"windows": counts}, {}, False)
    assert "| EDH | 1 | 0.750 |" in page
    assert "| SDH | 1 | 0.000 |" in page
    assert "| under 18 years | 1 | 0.750 |" in page
    assert "| 0.5 | 97.2 | 100.0 | 50.4 | 50.0 | 56.6 | 75.0 |" in page
    assert "| 0.9 | 63.1 | 0.0 | 88.6 | 100.0 | 87.0 | 50.0 |" in page
    assert "| Average | 0.300 | 0.375 | 0.500 | 0.500 |" in page
    assert "| threshold | 0.08 | 0.135 | not run |" in page


def test_dunet_page_by_hand():
    def epoch(number: int, iou: float, dice: float) -> dict:
        scores = {"train_mean_iou": 0.5, "train_mean_dice": 0.6, "val_mean_iou": iou, "val_mean_dice": dice}
        return {"epoch": number, "folds": 2, **scores, **{f"{key}_sd": 0.01 for key in scores}}

    tests = [
        [slice_row("a", "1", "edh", 6, 2, 2), slice_row("b", "1", None, 0, 0, 0)],  # dice 0.75 and 1
        [slice_row("a", "1", "edh", 2, 0, 6), slice_row("b", "1", None, 0, 0, 0)],  # dice 0.4 and 1
    ]
    result = dunet.Result([epoch(100, 0.5, 0.6), epoch(200, 0.7, 0.8), epoch(300, 0.6, 0.85)], tests)
    keys = {"max_epochs": 300}
    page = dunet.make_page("cmd", {"slice": DATA}, {("slice", "D-Unet"): result}, 2, keys, True)
    assert (
        "| D-Unet | slice | 800 | 0.72 (0.05) | 0.84 (0.03) | 200 | 0.700 (0.010) | 0.800 (0.010) |" in page
    )
    assert "| **200** | **0.500** | **0.600** | **0.700 (0.010)** | **0.800 (0.010)** |" in page
    # Dice 0.875 and 0.7 over images, 0.75 and 0.4 with hemorrhage, pooled the same
    assert "| 0.787 (0.124) |" in page
    assert page.count("| 0.575 (0.247) |") == 2
    assert LEAK_WARNING in page
    assert "IoU 0.86, Dice 0.89" in page
