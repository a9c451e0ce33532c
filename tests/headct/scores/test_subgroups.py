"""Scores by patient, type and age, against figures worked out by hand."""

from __future__ import annotations

import json

import pytest

from headct.scores.subgroups import (
    age_groups,
    group_table,
    patient_scores,
    spread_table,
    subgroups,
    type_groups,
)
from headct.scores.tables import read_csv
from tools.core.errors import InputError
from tools.core.tables import write_csv


def row(patient: object, number: int, types: str | None, tp: int, fp: int, fn: int) -> dict:
    """A slice; without hemorrhage it has no `hit`."""
    both = tp + fp + fn
    return {
        "case": f"{patient}_{number}", "patient": patient, "types": types, "tp": tp, "fp": fp, "fn": fn,
        "hit": int(tp > 0) if tp + fn else None,
        "dice": 2 * tp / (2 * tp + fp + fn) if both else 1.0, "iou": tp / both if both else 1.0,
    }  # fmt: skip


SLICES = [
    row("007", 1, "edh", 10, 0, 10),  # dice 2/3, iou 1/2
    row("007", 2, "edh+sah", 0, 0, 5),  # missed
    row("007", 3, None, 0, 3, 0),  # false alarm
    row("007", 4, None, 0, 0, 0),
    row("010", 1, "sdh", 5, 0, 0),  # perfect
    row("011", 1, None, 0, 0, 0),  # a patient without hemorrhage
]
FACTS = {"007": {"age": 12.0}, "010": {"age": 40}, "011": {"age": 50}}


def test_patients_by_hand():
    seven, ten, eleven = patient_scores(SLICES, FACTS)
    assert (seven["patient"], seven["age"], seven["types"]) == ("007", 12.0, "edh+sah")
    assert (seven["slices_with"], seven["slices_without"]) == (2, 2)
    assert seven["dice"] == pytest.approx(1 / 3)
    assert seven["iou"] == pytest.approx(1 / 4)
    assert (seven["sensitivity"], seven["specificity"]) == (0.5, 0.5)
    assert (ten["dice"], ten["sensitivity"], ten["specificity"]) == (1.0, 1.0, None)
    assert (eleven["dice"], eleven["sensitivity"], eleven["specificity"]) == (None, None, 1.0)


def test_tables_by_hand():
    rows = patient_scores(SLICES, FACTS)
    types = group_table(rows, type_groups())
    assert types[2:] == [
        "| EDH | 1 | 0.333 |", "| IPH | 0 | no patient |", "| IVH | 0 | no patient |", "| SAH | 1 | 0.333 |",
        "| SDH | 1 | 1.000 |",
    ]  # fmt: skip
    assert group_table(rows, age_groups())[2:] == [
        "| under 18 years | 1 | 0.333 |",
        "| 18 years and older | 1 | 1.000 |",
    ]
    spread = spread_table(rows)
    assert spread[0] == "| 2 patients | Jaccard | Dice | sensitivity | specificity |"
    assert spread[2] == "| Min | 0.250 | 0.333 | 0.500 | 0.500 |"
    assert spread[4] == "| STD | 0.530 | 0.471 | 0.354 | none |"  # |a - b| / sqrt 2
    assert spread[5] == "| Average | 0.625 | 0.667 | 0.750 | 0.500 |"


def test_command_reads_what_the_report_wrote(tmp_path, capsys):
    """Of patients as the table read back has them, the ages are found."""
    write_csv(tmp_path / "per_case.csv", SLICES)
    (tmp_path / "list.json").write_text(json.dumps({"patients": FACTS}))
    subgroups(str(tmp_path / "per_case.csv"), str(tmp_path / "list.json"))
    page = capsys.readouterr().out
    assert "| under 18 years | 1 | 0.333 |" in page
    assert (tmp_path / "subgroups.md").read_text() in page
    assert [r["dice"] for r in read_csv(tmp_path / "patients.csv")] == [pytest.approx(1 / 3), 1.0, None]
    subgroups(str(tmp_path / "per_case.csv"))
    assert "by age" not in capsys.readouterr().out


def test_slices_without_types_are_refused():
    plain = {key: value for key, value in SLICES[0].items() if key != "types"}
    with pytest.raises(InputError, match="expected the columns patient and types in case 007_1"):
        patient_scores([plain])


def test_zeros_set_patients_apart():
    found = patient_scores([row("1", 1, "edh", 4, 0, 0), row("01", 1, "edh", 0, 0, 4)])
    assert [(line["patient"], line["dice"]) for line in found] == [("1", 1.0), ("01", 0.0)]


def test_names_of_patients_are_no_numbers(tmp_path):
    """Python takes 1_1 for 11, and 12e5, a hexadecimal pseudonym, for 1200000."""
    names = ["1_1", "11", "12e5", "1200000"]
    write_csv(tmp_path / "per_case.csv", [{"case": name, "patient": name, "dice": 0.5} for name in names])
    assert [line["patient"] for line in read_csv(tmp_path / "per_case.csv")] == names
