"""Reproducing a paper's tables: runs on a bundle whose training takes no time, and the parts of a page."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from headct.reproduce import PAPERS, abramova2021, reproduce
from headct.reproduce.configurations import Configuration, run_configurations
from headct.reproduce.false_positives import HeadPlaces
from headct.reproduce.page import beside_table, figure, markdown, order_agreement, paired_table, provenance
from headct.runs.crossval import fold_runs
from headct.runs.find_bundle import config_files, find_bundle
from headct.scores.tables import read_csv
from tools.core.errors import InputError


def test_one_fold_is_run_once_with_overlays_and_keys(bundle, tmp_path):
    one = Configuration("better and lucky", str(bundle), ("better", "lucky"), {"gain": 0.3})
    tables = run_configurations([one], tmp_path, {"gain": 0.0}, folds=3, only_folds=[2])
    folder = tmp_path / one.name
    dealt = json.loads((folder / "data" / "dataset.json").read_text())["training"]
    expected = sorted(item["case"] for item in dealt if item["fold"] == 2)
    assert [row["case"] for row in tables[one.name]] == expected
    for row in tables[one.name]:
        assert row["dice"] == pytest.approx(0.4 + int(row["case"][1:]) / 100)
        assert row["fold"] == 2
    assert read_csv(folder / "per_case.csv") == tables[one.name]
    again = run_configurations([one], tmp_path, {"gain": 0.0}, folds=3, only_folds=[2])
    assert again == tables
    assert (folder / "fold_2" / "models" / "trained.txt").read_text() == "0.3\n"  # not trained again
    kept = fold_runs(bundle, config_files(bundle, one.overlays), folder, 3, overrides={"gain": 0.3})
    assert [run.finished for run in kept] == [False, False, True]
    other = fold_runs(bundle, config_files(bundle, ["better"]), folder, 3, overrides={"gain": 0.3})
    assert not any(run.finished for run in other)


def test_without_folds_the_test_cases_are_scored(bundle, tmp_path):
    tables = run_configurations([Configuration("plain", str(bundle), ("better",))], tmp_path)
    assert [(row["case"], row["dice"]) for row in tables["plain"]] == [("c6", 0.26), ("c7", 0.27)]


def rows(*dice: float) -> list[dict]:
    return [{"case": f"c{n}", "ivh": n % 2, "dice": value} for n, value in enumerate(dice)]


def test_figure():
    assert figure(rows(0.2, 0.4, 0.6)) == "0.400 ± 0.200 (3)"
    assert figure(rows(0.2, 0.4, 0.6), group="ivh") == "0.400 (1)"
    assert figure(rows(0.2), group="ivh") == "no case"


def test_beside_table_says_what_was_not_run():
    lines = beside_table(
        {"a": {"DSC": 0.5, "IVH": None}, "b": {"DSC": 0.75}},
        {"b": rows(0.1, 0.3), "extra": rows(0.5)},
        {"DSC": ("dice", "all"), "cases": lambda own: str(len(own))},
    )
    assert lines == [
        "|  | DSC, paper | DSC, ours | cases, paper | cases, ours |",
        "| --- | --- | --- | --- | --- |",
        "| a | 0.500 | not run |  | not run |",
        "| b | 0.750 | 0.200 ± 0.141 (2) |  | 2 |",
        "| extra |  | 0.500 (1) |  | 1 |",
    ]


def test_paired_table_against_scipy():
    a, b = [0.2, 0.5, 0.3, 0.9, 0.4], [0.3, 0.55, 0.5, 0.8, 0.6]
    tables = {"a": rows(*a), "b": rows(*b)}
    lines = paired_table(tables, [("a", "b"), ("a", "not run")], groups=("all", "ivh"))
    t, w = stats.ttest_rel(b, a).pvalue, stats.wilcoxon(b, a).pvalue
    assert lines[2] == f"| a | b | all | 5 | +0.090 | {t:.3g} | {w:.3g} |"
    assert lines[3].startswith("| a | b | ivh | 2 | -0.025 |")
    assert len(lines) == 4
    assert paired_table(tables, [("a", "none")]) == []


def test_order_agreement():
    paper = {"a": 0.1, "b": 0.2, "c": 0.3, "not run": 0.0}
    assert order_agreement(paper, {"a": 1, "b": 2, "c": 3}) == "The order of the 3 rows is the paper's."
    assert order_agreement(paper, {"a": 2, "b": 1, "c": 3}).startswith("2 of 3 pairs")
    assert order_agreement(paper, {"a": 2, "b": 1, "c": 3}).endswith("Not so: b is below a.")
    assert order_agreement(paper, {"a": 2}).startswith("Too few rows")


def test_page_says_what_was_run():
    page = markdown("Title", provenance("make it", "synthetic", "by patient", "3"), "", "Words.")
    assert page.startswith("# Title\n\n|  |  |\n| --- | --- |\n| command | `make it` |\n")
    assert page.endswith("\n\nWords.\n")
    for word in ("machine", "torch", "synthetic", "by patient"):
        assert word in page


@pytest.mark.parametrize("paper", PAPERS)
def test_what_a_paper_does_not_take_is_refused(tmp_path, paper):
    """Before anything is written: options and keys that do not exist, and keys that it sets itself."""
    with pytest.raises(InputError, match=r"fold: expected one of .*folds|fold: expected one of rows, timing"):
        reproduce(paper, "quick", tmp_path, tmp_path, fold=1)
    for key in ("dataset_dir", "phantom_dir", "output_dir"):
        with pytest.raises(InputError, match=rf"{key}: expected a key that `reproduce` leaves to you"):
            reproduce(paper, "quick", tmp_path, tmp_path, keys={key: str(tmp_path / "mine")})
    with pytest.raises(InputError, match=r"max_epoch: expected a key of .* the nearest is max_epochs"):
        reproduce(paper, "quick", tmp_path, tmp_path, keys={"max_epoch": 3})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_no_such_paper():
    with pytest.raises(InputError, match=r"paper: expected one of abramova2021, .*, found 'nothing'"):
        reproduce("nothing", "quick")


def test_every_row_of_abramova2021_is_a_configuration_of_the_bundle():
    folder = find_bundle(abramova2021.BUNDLE)
    for overlays in abramova2021.ROWS.values():
        assert len(config_files(folder, overlays)) == len(overlays) + 1
    for table in abramova2021.TABLES:
        assert {*table.paper, *(name for pair in table.pairs for name in pair)} <= set(abramova2021.ROWS)
    assert set(abramova2021.ROWS) == {name for table in abramova2021.TABLES for name in table.paper}
    assert set(abramova2021.QUICK_ROWS) <= set(abramova2021.ROWS)
    assert len(set(abramova2021.ROWS.values())) == len(abramova2021.ROWS)


def test_abramova2021_in_small(tmp_path):
    """One row, two folds, a patch or two: the command as a user runs it."""
    phantom = {"cases": 2, "seed": 3, "kind": "iph_ivh", "shape": [64, 64, 20], "spacing": [3.0, 3.0, 8.0]}
    small = {"patches_per_case": 2, "batch_size": 2, "max_epochs": 1, "val_interval": 1, "phantom": phantom}
    reproduce("abramova2021", "quick", tmp_path / "out", tmp_path, keys=small, rows=["brain"])
    page = (tmp_path / "out" / "abramova2021.md").read_text()
    assert "| brain | 0.828 | 0." in page
    assert "| unet3d | 0.765 | not run |" in page
    assert "Not tested: it takes the rows `brain` and `final`." in page
    assert "2, each scored once; 1 with IVH" in page
    assert "|  | found | missed | beside the lesion |" in page
    with pytest.raises(InputError, match=r"rows: expected some of .*, found nothing"):
        reproduce("abramova2021", "quick", tmp_path, tmp_path, rows=["nothing"])


def test_false_positives_by_place():
    """A row of voxels of 5x2x2 mm, 0.02 mL each, from the skull through the brain: counted by hand."""
    #           0  1  2  3  4  5  6  7  8  9  10 11
    brain = [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]  # 1 lies 5 mm from what is no brain, 2 lies 10 mm
    lesion = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0]
    ventricle = [0, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0]  # 7 lies 5 mm beside the lesion
    predicted = [1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 1]  # 11 lies 10 mm beside the lesion
    masks = [np.array(m, bool)[:, None, None] for m in (predicted, lesion, ventricle, brain)]
    found = HeadPlaces.of(*masks[1:], (5.0, 2.0, 2.0)).volumes(masks[0])
    voxels = {"found": 1, "missed": 1, "beside the lesion": 1, "in ventricles": 1, "near the skull": 2}
    assert found == pytest.approx({name: 0.02 * n for name, n in {**voxels, "deeper": 3}.items()})
    nothing = np.zeros_like(masks[1])
    places = HeadPlaces.of(nothing, *masks[2:], (5.0, 2.0, 2.0))
    assert places.volumes(masks[0])["in ventricles"] == pytest.approx(0.04)


def test_the_claim_of_abramova2021():
    """Row by row from known scores: better with IVH, whatever happens without."""
    before = [{"case": f"c{n}", "ivh": n % 2 == 0, "dice": 0.5} for n in range(4)]
    after = [{**row, "dice": 0.6 if row["ivh"] else 0.1} for row in before]
    keys = {"phantom": {"seed": 1, "shape": [64, 64, 20], "spacing": [3.0, 3.0, 8.0]}}
    page = abramova2021.make_page("run it", {"brain": before, "final": after}, keys, 2, True)
    assert "Here: 0.500 to 0.600; in the mean of these cases it **holds**" in page
    assert "| brain | final | no_ivh | 2 | -0.400 | 0 |" in page
    page = abramova2021.make_page("run it", {"brain": after, "final": before}, keys, 2, True)
    assert "**does not hold**" in page
