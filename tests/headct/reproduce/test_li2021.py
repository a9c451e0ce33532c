"""The page of Li 2021: every figure in it against one worked out by hand from made-up slices."""

from __future__ import annotations

import json

import pytest

from headct.reproduce import reproduce
from headct.reproduce.li2021 import FULL, MODELS, QUICK, QUICK_GAN, SMALL_MM2
from headct.reproduce.li2021_page import COMPARED, draw, make_page
from headct.reproduce.slice_scores import Scores
from tools.core.errors import InputError
from tools.core.tables import write_csv


def row(case: str, dice: float, large: int | None, hit: int | None = None, alarm: int | None = None) -> dict:
    scores = {"dice": dice, "iou": dice / (2 - dice), "precision": dice, "recall": dice}
    return {"case": case, "patient": case[0], **scores, "hit": hit, "false_alarm": alarm, "large": large}


ROWS = [row("a1", 0.8, 1, 1), row("a2", 0.4, 1, 0), row("b1", 0.2, 0, 1), row("b2", 1.0, None, alarm=0),
        row("b3", 0.0, None, alarm=1)]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """What an evaluation leaves."""
    write_csv(tmp_path / "per_case.csv", ROWS)
    (tmp_path / "summary.json").write_text(json.dumps({"all": {"precision_recall": {"area": 0.625}}}))
    curve = "thresholds,precision,recall\n0.0,0.1,1.0\n0.5,0.6,0.5\n1.0,1.0,0.0\n"
    (tmp_path / "precision_recall.csv").write_text(curve)
    return tmp_path


def test_scores_by_hand(folder):
    scores = Scores.read(folder)
    assert scores.mean("dice") == pytest.approx(1.4 / 3)
    assert scores.mean("dice", large=True) == pytest.approx(0.6)
    assert (scores.mean("hit", True), scores.mean("hit", False)) == (0.5, 1.0)
    assert scores.false_alarms() == 0.5
    assert scores.curve == ([1.0, 0.5, 0.0], [0.1, 0.6, 1.0])
    assert Scores([]).mean("dice") is None


def test_page(folder):
    scores = Scores.read(folder)
    times = [{"network": "unet6", "million parameters": 0.524, "fp32, batch 1": 61.26, "bf16, batch 1": 30.0}]
    found = {"UNet6": scores, "UNet6Gan": scores, "PSPNet": scores}
    keys = {**QUICK, **QUICK_GAN, "small_mm2": SMALL_MM2}
    pictures = draw(MODELS, found, folder)
    page = make_page("the command", MODELS, found, {"UNet6": scores}, times, keys, True, pictures)
    common = "0.600 | 0.200 | 0.467 | 0.343 | 0.467 | 0.467 | 0.625 | 0.500 |"
    assert f"| UNet6 |  | 0.958 | 0.500 | 0.551 | 1.000 | {common}" in page
    assert f"| PSPNet | ResNet-50 |  | 0.500 |  | 1.000 | {common}" in page
    assert f"| UNet6 |  | 0.500 | 1.000 | {common}" in page  # on real slices, without the paper's
    assert "5 real slices of 2 patients" in page
    assert "| UNet6Gan |  | 172.1 | 163.7 | 0.5 | 61.3 | 30.0 |" in page
    assert "5 slices, 2 with a large and 1 with a small lesion" in page
    assert "Not run here: UNet10, UNet10Gan, UNet6Dil," in page
    for picture in pictures:
        assert f"![{picture.stem}]({picture.name})" in page
        assert picture.stat().st_size > 10_000
    full = make_page("c", MODELS, found, {}, [], {**FULL, "small_mm2": SMALL_MM2}, False)
    assert "hardly" not in full
    assert "Time per slice" not in full
    assert "real slices" not in full


def test_table_1_and_2_are_the_papers():
    """Nine networks in table I, seven in table II; the best location accuracy is UNet6Incep's."""
    first = {name: model.location for name, model in MODELS.items() if model.location}
    assert len(first) == 9
    assert max(first, key=lambda name: first[name]) == "UNet6Incep"
    assert {name for name, model in MODELS.items() if model.ms} == set(COMPARED)


def test_unknown_row(tmp_path):
    with pytest.raises(InputError, match=r"rows: expected some of UNet10, .*, found UNet7"):
        reproduce("li2021", "quick", tmp_path, tmp_path, rows=["UNet7"])
