"""The fair test of an encoder from ImageNet: its rows, fewer heads, and a page counted by hand."""

from __future__ import annotations

import json

import pytest

from headct.reproduce import Setting
from headct.reproduce.fair import li2021_pretrained as fair
from headct.reproduce.fair import rows as fair_runs
from headct.reproduce.fair.heads import write_fewer_heads
from headct.reproduce.fair.li2021_pretrained_page import draw, make_page, pairs_of
from headct.reproduce.fair.rows import FairOptions, FairRow, run_test
from headct.reproduce.fair.slices import HEADS
from headct.reproduce.slice_scores import Scores
from headct.runs.find_bundle import check_keys, config_files, find_bundle
from tools.core.errors import InputError


def test_rows_are_configurations_of_the_bundle():
    folder = find_bundle(fair.BUNDLE)
    for row in fair.ROWS.values():
        check_keys(folder, config_files(folder, row.overlays), {**fair.KEYS, **row.keys, "seed": 1})
    assert {(name, row.seeds) for name, row in fair.ROWS.items()} == {
        ("frozen_32", 3), ("unfrozen_32", 3), ("scratch_32", 3), ("frozen_16", 1), ("unfrozen_16", 1),
        ("scratch_16", 1), ("frozen_8", 3), ("unfrozen_8", 3), ("scratch_8", 3),
    }  # fmt: skip
    assert fair.KEYS["max_epochs"] % fair.KEYS["val_interval"] == 0


def test_rows_differ_in_heads_and_not_in_steps():
    for name, row in fair.ROWS.items():
        slices = row.keys["patches_per_case"] * int(name.rsplit("_", 1)[1])
        assert slices * fair.KEYS["max_epochs"] / fair.KEYS["batch_size"] == fair.STEPS


@pytest.fixture
def heads(tmp_path):
    """Three heads of each kind to train on, one that validates, one that tests."""
    names = [f"{kind}_{n:03d}" for kind in ("iph", "iph_ivh") for n in range(3)]
    training = [{"case": name, "image": f"training/{name}.nii.gz", "fold": 1} for name in names]
    training.insert(3, {"case": "iph_003", "image": "training/iph_003.nii.gz", "fold": 0})
    testing = [{"case": "test_iph_000", "image": "testing/000.nii.gz", "label": "testing/label.nii.gz"}]
    path = tmp_path / "data" / "dataset.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"labels": {"0": "background"}, "training": training, "testing": testing}))
    return path


def test_fewer_heads(heads, tmp_path):
    written = write_fewer_heads(heads, tmp_path / "few", 4)
    content = json.loads(written.read_text())
    assert [item["case"] for item in content["training"]] == [
        "iph_000", "iph_001", "iph_ivh_000", "iph_ivh_001", "iph_003"
    ]  # fmt: skip
    assert [item["fold"] for item in content["training"]] == [1, 1, 1, 1, 0]
    assert content["testing"] == [
        {
            "case": "test_iph_000",
            "image": "../data/testing/000.nii.gz",
            "label": "../data/testing/label.nii.gz",
        }
    ]
    assert content["labels"] == {"0": "background"}
    for count in (3, 8, 0):
        with pytest.raises(InputError, match=f"expected {count} heads .*, found 3 iph, 3 iph_ivh"):
            write_fewer_heads(heads, tmp_path / "few", count)


def test_a_row_may_have_a_datalist_of_its_own(heads, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(fair_runs, "write_fair_heads", lambda *_: heads)
    monkeypatch.setattr(fair_runs, "run_rows", lambda rows, *_: seen.update(rows) or {})
    rows = {"two": FairRow(keys={"batch_size": 2}), "four": FairRow(), "six": FairRow()}

    def own(name, datalist):
        return write_fewer_heads(datalist, tmp_path / name, {"two": 2, "four": 4}[name])

    run_test(
        Setting("fair", tmp_path, tmp_path), FairOptions(rows=("four", "two")), "b", rows, HEADS, {}, own
    )
    assert {name: row.keys for name, row in seen.items()} == {
        "two": {"batch_size": 2, "dataset_dir": tmp_path / "two"},
        "four": {"dataset_dir": tmp_path / "four"},
    }


def test_page(tmp_path):
    def scores(*dice):
        """Two heads with a large and a small lesion each, and a slice without."""
        names = ("t_01", "t_02", "u_01", "u_02")
        rows = [
            {"case": name, "dice": value, "iou": value / 2, "precision": value, "recall": value,
             "hit": int(value > 0), "false_alarm": None, "large": name.endswith("1")}
            for name, value in zip(names, dice, strict=True)
        ]  # fmt: skip
        empty = {"case": "u_03", "dice": 0.0, "iou": 0.0, "precision": 0.0, "recall": 0.0}
        return Scores([*rows, {**empty, "hit": None, "false_alarm": 1, "large": None}], 0.5)

    found = {
        "scratch_8": {0: scores(0.2, 0.0, 0.4, 0.2)},
        "frozen_8": {0: scores(0.4, 0.2, 0.6, 0.2), 1: scores(0.8, 0.2, 0.6, 0.2)},
        "frozen_32": {0: scores(0.8, 0.4, 0.6, 0.6)},
    }
    pictures = draw(found, tmp_path)
    page = make_page("cmd", tuple(fair.ROWS), found, fair.KEYS, fair.STEPS // fair.EPOCHS, pictures)
    assert "| scratch_8 | 1 | 1.000 | 0.500 | 0.200 | 0.100 | 0.300 | 0.100 |" in page
    assert "| frozen_8 | 2 | 1.000 ± 0.000 | 1.000 ± 0.000 | 0.400 ± 0.071 |" in page
    assert "| scratch_8 | frozen_8 | all | 2 | +0.150 |" in page  # of seed 0, which both have
    assert "UNet6Incep 0.9859 and 0.6735, UNet6Vgg 0.9437 and 0.4498, UNet6 0.9577 and 0.551" in page
    assert "1024 of 4 slices" in page
    assert "8 epochs of 128 steps, Adam 0.001" in page
    assert "5 test slices, 2 with a large and 2 with a small lesion" in page
    assert "Not run here: `unfrozen_32`, `scratch_32`," in page
    assert "![li2021_pretrained_fair](li2021_pretrained_fair.png)" in page


def test_pairs_are_of_as_many_heads():
    assert pairs_of(["frozen_8", "scratch_32"]) == [
        ("scratch_32", "frozen_32"), ("scratch_32", "unfrozen_32"), ("frozen_32", "unfrozen_32"),
        ("scratch_8", "frozen_8"), ("scratch_8", "unfrozen_8"), ("frozen_8", "unfrozen_8"),
    ]  # fmt: skip
