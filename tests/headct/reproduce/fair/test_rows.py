"""What fair tests share: people who are trained on or tested on, seeds, and tables of them."""

from __future__ import annotations

import json
import math
import statistics

import nibabel as nib
import numpy as np
import pytest

from headct.reproduce import Setting, reproduce
from headct.reproduce.fair import heads as fair_heads
from headct.reproduce.fair import rows as fair
from headct.reproduce.fair.heads import FairHeads, divide_maps, write_fair_heads
from headct.reproduce.fair.rows import (
    FairOptions,
    FairRow,
    group_mean,
    mean_of_seeds,
    run_rows,
    run_seconds,
    seed_paired_table,
    with_sd,
)
from headct.reproduce.lesion_shape import measured_lesion, solidity
from tools.core.errors import InputError

HEADS = FairHeads({"iph": 3, "iph+ivh": 2}, {"iph": 1}, {"iph": 2}, (64, 64, 20), (3.0, 3.0, 8.0), "iph")


@pytest.fixture
def maps(tmp_path):
    folder = tmp_path / "maps"
    folder.mkdir()
    for number in range(10):
        (folder / f"seg_{number}.nii.gz").touch()
    return folder


def test_maps_are_divided(maps):
    training, testing = divide_maps(maps)
    assert (len(training), len(testing)) == (7, 3)
    assert {*training, *testing} == {f"seg_{number}" for number in range(10)}


def test_missing_maps_are_one_line_before_anything_is_written(tmp_path):
    for given, line in (
        ({}, r"anatomy: expected a folder of label maps \(see docs/phantom.md\), found none"),
        ({"anatomy": tmp_path / "none"}, "expected 'procedural' or a folder of label maps, found no folder"),
    ):
        with pytest.raises(InputError, match=line):
            reproduce("abramova2021", "fair", tmp_path / "out", tmp_path / "work", **given)
    (tmp_path / "one.nii.gz").touch()
    with pytest.raises(InputError, match="at least two label maps, one to train and one to test, found 1"):
        divide_maps(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["one.nii.gz"]


def test_a_paper_without_that_size(tmp_path):
    for paper in ("abramova2022", "li2021-pretrained"):
        with pytest.raises(InputError, match=rf"--quick: expected one of the papers .*, found {paper}"):
            reproduce(paper, "quick", tmp_path, tmp_path)
    with pytest.raises(InputError, match="size: expected one of quick, fair, full, found 'small'"):
        reproduce("dunet", "small", tmp_path, tmp_path)


def test_heads_of_a_test_are_of_other_people(maps, tmp_path, monkeypatch):
    """What is asked of `write_phantoms`, which has tests of its own."""
    asked = []

    def made(out, cases, **options):
        asked.append((out, cases, options))
        items = [
            {"image": f"images/case_{n:03d}.nii.gz", "case": f"case_{n:03d}", "fold": 0} for n in range(cases)
        ]
        out.mkdir(parents=True)
        (out / "dataset.json").write_text(json.dumps({"training": items}))
        return out / "dataset.json"

    monkeypatch.setattr(fair_heads, "write_phantoms", made)
    content = json.loads(write_fair_heads(tmp_path / "data", maps, HEADS).read_text())
    seen = {part: {name for out, _, o in asked if out.parent.name == part for name in o["maps"]}
            for part in ("training", "testing")}  # fmt: skip
    assert not seen["training"] & seen["testing"]
    assert len({options["seed"] for _, _, options in asked}) == len(asked)
    assert [item["case"] for item in content["training"] if item["fold"] == 0] == ["iph_003"]
    assert [item["case"] for item in content["training"] if item["fold"] == 1] == [
        "iph_000", "iph_001", "iph_002", "iph_ivh_000", "iph_ivh_001"
    ]  # fmt: skip
    assert [item["case"] for item in content["testing"]] == ["test_iph_000", "test_iph_001"]
    assert "fold" not in content["testing"][0]
    assert content["testing"][1]["image"] == "testing/iph/images/case_001.nii.gz"


def test_seeds_are_runs_of_their_own(bundle, tmp_path):
    rows = {"claim": FairRow(("better",), seeds=2)}
    tables = run_rows(rows, str(bundle), tmp_path, {"gain": 0.0})
    first = {seed: own[0]["dice"] for seed, own in tables["claim"].items()}
    assert first == {0: pytest.approx(0.06), 1: pytest.approx(0.061)}  # the key goes before the overlay
    assert set(run_seconds(tmp_path, "claim", 1)) == {"training", "evaluating"}
    more = {**rows, "other": FairRow((), {"gain": 0.5})}
    assert run_rows(more, str(bundle), tmp_path, {"gain": 0.0}, finished=True) == tables  # starts no other
    assert not (tmp_path / "other_seed_0").exists()
    with pytest.raises(InputError, match="expected at least one finished run, found none"):
        run_rows(rows, str(bundle), tmp_path / "elsewhere", {"gain": 0.0}, finished=True)


def test_only_the_rows_that_are_asked_for(tmp_path, monkeypatch):
    """And the keys: the command's go before those of the paper. Heads and runs have tests of their own."""
    monkeypatch.setattr(fair, "write_fair_heads", lambda *_: tmp_path / "data" / "dataset.json")
    monkeypatch.setattr(fair, "run_rows", lambda rows, *_: {name: {} for name in rows})
    setting = Setting("fair", tmp_path, tmp_path, keys={"batch_size": 2})
    rows = {name: FairRow() for name in "abc"}
    test = fair.run_test(setting, FairOptions(rows=("c", "a")), "dunet", rows, HEADS, {"batch_size": 8})
    assert list(test.tables) == ["a", "c"]
    assert (test.keys["batch_size"], test.keys["dataset_dir"]) == (2, tmp_path / "data")
    with pytest.raises(InputError, match="rows: expected some of a, b, c, found d"):
        fair.run_test(setting, FairOptions(rows=("d",)), "dunet", rows, HEADS, {})


def test_means_over_seeds_by_hand():
    def rows(*dice):
        return [{"case": f"c{n}", "ivh": n % 2, "dice": value} for n, value in enumerate(dice)]

    seeds = {0: rows(0.2, 0.4, 0.6), 1: rows(0.4, 0.5, None)[::-1]}
    assert [row["dice"] for row in mean_of_seeds(seeds)] == pytest.approx([0.3, 0.45, 0.6])
    assert with_sd(seeds, group_mean()) == f"0.425 ± {statistics.stdev([0.4, 0.45]):.3f}"
    assert with_sd({0: seeds[0]}, group_mean("dice", "ivh"), 1) == "0.4"
    assert with_sd({0: rows(0.1)}, group_mean("dice", "ivh")) == "no case"


def test_pairs_are_tested_over_the_seeds_that_both_have():
    """A second seed of one row, which is far better, says nothing of the other row."""

    def rows(*dice):
        return [{"case": f"c{n}", "ivh": n % 2, "dice": value} for n, value in enumerate(dice)]

    tables = {"a": {0: rows(0.2, 0.4), 1: rows(0.9, 0.9)}, "b": {0: rows(0.3, 0.6)}, "c": {2: rows(0.1, 0.1)}}
    lines = seed_paired_table(tables, [("a", "b"), ("b", "c")])
    assert lines[0].endswith("| p (Wilcoxon) | seeds |")
    assert len(lines) == 3
    assert lines[2].startswith("| a | b | all | 2 | +0.150 |")
    assert lines[2].endswith("| 1 |")
    one = seed_paired_table(tables, [("a", "b")], cases={"c1"})
    assert one[2] == "| a | b | all | 1 | fewer than two cases |  |  | 1 |"


def test_solidity_by_hand(tmp_path):
    """Three squares in an L: 3 of the 3.5 of its hull. A second, smaller part does not count."""
    mask = np.zeros((8, 8, 3), bool)
    mask[1:3, 1:3, :2] = True
    assert solidity(mask) == pytest.approx(1)
    mask[2, 2] = False
    mask[6, 6, 0] = True
    assert solidity(mask) == pytest.approx(3 / 3.5)
    assert math.isnan(solidity(np.zeros((2, 2, 2), bool)))
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), np.diag([2.0, 2.0, 5.0, 1])), tmp_path / "label.nii.gz")
    assert measured_lesion(tmp_path / "label.nii.gz") == pytest.approx(
        {"volume_ml": 0.14, "solidity": 3 / 3.5}
    )
