"""Scores against several raters: hand-computed sets of masks, and the command on trees and datalists."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from headct.scores.grids import read_label_map
from headct.scores.raters import set_scores
from headct.scores.score import score
from headct.scores.tables import read_csv
from tools.core.errors import InputError

AFFINE = np.diag([-1.0, -1.0, 5.0, 1.0])


def bits(text: str) -> np.ndarray:
    return np.array([c == "1" for c in text])


def test_one_prediction_and_two_raters_by_hand() -> None:
    """A = 1100, B = 0110, prediction 1110: IoU 2/3 with each, 1/3 between raters; Dice 4/5 with each."""
    found = set_scores([bits("1110")], [bits("1100"), bits("0110")])
    distance_of_raters = (0 + 2 / 3 + 2 / 3 + 0) / 4
    assert found["ged"] == pytest.approx(2 * (1 / 3) - 0 - distance_of_raters)
    assert found["dice_max"] == found["dice_match"] == found["dice_max_reverse"] == pytest.approx(0.8)
    # raters' mean 0.5, 1, 0.5, 0: above 0.1 and 0.3 all of 1110, from 0.5 on 0100
    assert found["dice_soft"] == pytest.approx((1 + 1 + 0.5 + 0.5 + 0.5) / 5)


def test_sets_that_agree_in_another_order() -> None:
    masks = [bits("1100"), bits("0011"), bits("0000")]
    found = set_scores(masks[::-1], masks)
    assert found == {"ged": 0, "dice_max": 1, "dice_max_reverse": 1, "dice_match": 1, "dice_soft": 1}


def test_maxima_go_both_ways_and_matching_is_one_to_one() -> None:
    """Two equal predictions; raters: the same, and one that no prediction meets."""
    found = set_scores([bits("1100"), bits("1100")], [bits("1100"), bits("0011")])
    assert (found["dice_max"], found["dice_max_reverse"], found["dice_match"]) == (1, 0.5, 0.5)
    assert found["ged"] == pytest.approx(2 * 0.5 - 0 - 0.5)


def save(path: Path, *columns: int) -> None:
    array = np.zeros((6, 6, 4), np.uint8)
    array[1 : 1 + len(columns), 2, 1] = columns
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), path)


def test_cases_of_a_datalist_are_named_by_their_images(tmp_path):
    for case in "ab":
        save(tmp_path / "pred" / f"{case}.nii.gz", 1)
        save(tmp_path / "truth" / f"{case}.nii.gz", 1)
    items = [{"image": f"{case}.nii.gz", "raters": [f"truth/{case}.nii.gz"]} for case in "ab"]
    (tmp_path / "d.json").write_text(json.dumps({"training": items}))
    assert score(tmp_path / "pred", tmp_path / "d.json", rules="mbhseg2025")["n"] == 2
    (tmp_path / "d.json").write_text(json.dumps({"training": items, "testing": items[:1]}))
    with pytest.raises(InputError, match=r"d.json: expected each case once, found 'a' again"):
        score(tmp_path / "pred", tmp_path / "d.json", rules="mbhseg2025", allow_missing=True)


def test_a_case_that_lacks_a_type_counts_for_it_too(tmp_path):
    """EDH alone (1) and missed, beside EDH and SDH, both found: mean Dice of EDH a half."""
    for case, truth, pred in (("a", (1, 1), (0, 0)), ("b", (1, 5), (1, 5))):
        save(tmp_path / "truth" / case / "label_annot_1.nii.gz", *truth)
        save(tmp_path / "pred" / f"{case}_seg.nii.gz", *pred)
        (tmp_path / "pred" / f"._{case}_seg.nii.gz").touch()  # as macOS writes beside each
    score(tmp_path / "pred", tmp_path / "truth", rules="mbhseg2025", out=tmp_path / "out")
    columns = json.loads((tmp_path / "out" / "summary.json").read_text())["columns"]
    assert columns["dice_max_edh"]["mean"] == pytest.approx(0.5)
    assert columns["dice_max_edh"]["n"] == 2


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    pred, truth = tmp_path / "pred", tmp_path / "truth"
    save(truth / "ID_1/label_annot_1.nii.gz", 2, 2, 0, 0)
    save(truth / "ID_1/label_annot_5.nii.gz", 0, 2, 2, 0)
    save(truth / "ID_1/image.nii.gz", 0)
    save(truth / "ID_2/label_annot_1.nii.gz", 3, 3)
    save(pred / "ID_1.nii.gz", 2, 2, 2, 0)
    save(pred / "ID_2.nii.gz", 3, 4)
    return pred, truth


def test_command_on_a_tree(folders: tuple[Path, Path], tmp_path: Path) -> None:
    scores = score(*folders, rules="mbhseg2025", out=tmp_path / "out", progress=False)
    first, second = read_csv(tmp_path / "out" / "per_case.csv")
    assert (first["case"], first["raters"], first["predictions"]) == ("ID_1", 2, 1)
    assert first["dice_max"] == first["dice_max_iph"] == pytest.approx(0.8)
    assert first["dice_max_edh"] == 1  # in neither
    assert (second["dice_max"], second["dice_max_ivh"], second["dice_max_sah"]) == (
        1,
        pytest.approx(2 / 3),
        0,
    )
    assert scores["columns"]["dice_max"]["mean"] == pytest.approx(0.9)
    page = (tmp_path / "out" / "summary.md").read_text()
    assert "| ged |" in page
    assert page == str(scores)


def test_each_file_is_read_once(folders: tuple[Path, Path], monkeypatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(
        "headct.scores.score_raters.read_label_map", lambda path: read.append(path) or read_label_map(path)
    )
    score(*folders, rules="mbhseg2025", progress=False)
    assert len(read) == len(set(read)) == 5


def test_masks_without_types_have_no_columns_of_types(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for file in tmp_path.rglob("label*"):
        save(file, 1, 1)
    scores = score(*folders, rules="mbhseg2025", progress=False)
    assert list(scores["columns"]) == ["ged", "dice_max", "dice_max_reverse", "dice_match", "dice_soft"]


def test_several_predictions_and_a_datalist(folders: tuple[Path, Path], tmp_path: Path) -> None:
    pred, _ = folders
    (pred / "ID_1.nii.gz").unlink()
    save(pred / "ID_1/a.nii.gz", 2, 2, 0, 0)
    save(pred / "ID_1/b.nii.gz", 0, 2, 2, 0)
    raters = [f"truth/ID_1/label_annot_{k}.nii.gz" for k in (5, 1)]
    listed = {"training": [{"case": "ID_1", "image": "x.nii.gz", "raters": raters}]}
    (tmp_path / "d.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match=r"1 predictions without case \['ID_2'\]"):
        score(pred, tmp_path / "d.json", rules="mbhseg2025", progress=False)
    scores = score(pred, tmp_path / "d.json", rules="mbhseg2025", allow_missing=True, progress=False)
    assert scores["n"] == 1
    assert {name: scores["columns"][name]["mean"] for name in ("ged", "dice_match", "dice_soft")} == {
        "ged": 0, "dice_match": 1, "dice_soft": 1
    }  # fmt: skip


def test_raters_on_another_grid_or_none(folders: tuple[Path, Path]) -> None:
    pred, truth = folders
    with pytest.raises(InputError, match="expected CASE/label_annot_RATER"):
        score(pred, pred, rules="mbhseg2025", progress=False)
    moved = AFFINE.copy()
    moved[0, 3] = 3
    nib.save(nib.Nifti1Image(np.zeros((6, 6, 4), np.uint8), moved), pred / "ID_1.nii.gz")
    with pytest.raises(InputError, match=r"ID_1.nii.gz: expected the affine of .*up to 3 mm"):
        score(pred, truth, rules="mbhseg2025", progress=False)
