"""Scores by patient, hemorrhage type and age (Hssayeni 2020, table 5 and the text below table 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headct.scores.tables import read_csv
from tools.core.classes import TYPES
from tools.core.errors import InputError
from tools.core.files import write_text
from tools.core.markdown import table
from tools.core.tables import Row, write_csv
from tools.data.entries import read_datalist
from tools.report.summary import mean_sd

__all__ = ["age_groups", "group_table", "patient_scores", "spread_table", "subgroups", "type_groups"]

ADULT = 18.0  # years
SCORES = {"iou": "Jaccard", "dice": "Dice", "sensitivity": "sensitivity", "specificity": "specificity"}

Groups = Mapping[str, Callable[[Row], bool]]


def subgroups(scores: str | Path, datalist: str | Path | None = None, out: str | Path | None = None) -> None:
    """Tables by patient, hemorrhage type and age from the scores of slices.

    Args:
        scores: `slice_metrics/per_case.csv` of an evaluation.
        datalist: datalist of `prepare`, which knows the patients' ages; without it there is no table by age.
        out: folder for `patients.csv` and `subgroups.md`; default: where the scores lie.

    Raises:
        InputError: see `patient_scores`; the datalist cannot be read.
    """
    rows = patient_scores(read_csv(scores), _facts(datalist))
    parts = ["# Scores by patient", "", *spread_table(rows), ""]
    parts += ["## Patients who have a type of hemorrhage", "", *group_table(rows, type_groups()), ""]
    if any(row["age"] is not None for row in rows):
        parts += ["## Patients by age", "", *group_table(rows, age_groups()), ""]
    page, folder = "\n".join(parts), Path(out) if out else Path(scores).parent
    write_csv(folder / "patients.csv", [{"case": row["patient"], **row} for row in rows])
    write_text(folder / "subgroups.md", page)
    print(f"{page}\n{folder / 'subgroups.md'}")


def patient_scores(rows: Sequence[Row], facts: Mapping[str, Mapping[str, Any]] | None = None) -> list[Row]:
    """One row per patient.

    Args:
        rows: of slices, with the columns `patient` and `types` (`edh+sah`; None without hemorrhage).
        facts: age in years (or None) and sex by patient.

    Returns:
        rows with patient, age, types, numbers of slices with and without hemorrhage; `dice` and `iou`, the
        means over the patient's slices with hemorrhage; `sensitivity` and `specificity` of its slices, a
        slice being positive with at least one pixel. What a patient has no slices for is None.

    Raises:
        InputError: rows without patient or types.
    """
    patients: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("patient") is None or "types" not in row:
            raise InputError(
                f"subgroups: expected the columns patient and types in case {row['case']}, found "
                f"{sorted(row)}; a datalist of `headct datasets prepare` has them"
            )
        patients.setdefault(str(row["patient"]), []).append(row)
    facts = facts or {}
    result = []
    for patient, own in sorted(patients.items(), key=lambda pair: (len(pair[0]), pair[0])):
        bleeding = [row for row in own if row["hit"] is not None]
        rest = [row for row in own if row["hit"] is None]
        types = {kind for row in bleeding for kind in str(row["types"] or "").split("+") if kind}
        result.append(
            {
                "patient": patient,
                "age": facts.get(patient, {}).get("age"),
                "types": "+".join(kind for kind in TYPES if kind in types),
                "slices_with": len(bleeding),
                "slices_without": len(rest),
                "dice": _mean([row["dice"] for row in bleeding]),
                "iou": _mean([row["iou"] for row in bleeding]),
                "sensitivity": _mean([row["tp"] + row["fp"] > 0 for row in bleeding]),
                "specificity": _mean([row["tp"] + row["fp"] == 0 for row in rest]),
            }
        )
    return result


def type_groups() -> Groups:
    """Patients by the types they have; one who has two is in two groups."""

    def has(kind: str) -> Callable[[Row], bool]:
        return lambda row: kind in row["types"].split("+")

    return {kind.upper(): has(kind) for kind in TYPES}


def age_groups() -> Groups:
    """Patients under 18 years, and from 18 on."""
    return {
        "under 18 years": lambda row: row["age"] is not None and row["age"] < ADULT,
        "18 years and older": lambda row: row["age"] is not None and row["age"] >= ADULT,
    }


def group_table(rows: Sequence[Row], groups: Groups) -> list[str]:
    """Mean ± sd of Dice over the patients of each group who have hemorrhage."""
    lines = []
    for title, belongs in groups.items():
        values = [row["dice"] for row in rows if row["dice"] is not None and belongs(row)]
        lines.append([title, str(len(values)), _text(values)])
    return table(["", "patients", "Dice"], lines)


def spread_table(rows: Sequence[Row]) -> list[str]:
    """Lowest, highest, deviation and mean over patients with hemorrhage: the shape of Hssayeni's table 5."""
    own = [row for row in rows if row["dice"] is not None]
    columns = {title: [row[key] for row in own if row[key] is not None] for key, title in SCORES.items()}
    statistics: dict[str, Callable[[list[float]], float | None]] = {
        "Min": min,
        "Max": max,
        "STD": lambda values: mean_sd(values)[1],
        "Average": lambda values: mean_sd(values)[0],
    }
    lines = []
    for name, how in statistics.items():
        found = [how(values) if values else None for values in columns.values()]
        lines.append([name, *("none" if value is None else f"{value:.3f}" for value in found)])
    return table([f"{len(own)} patients", *columns], lines)


def _facts(datalist: str | Path | None) -> Mapping[str, Mapping[str, Any]]:
    if datalist is None:
        return {}
    patients = read_datalist(datalist).get("patients", {})
    if not isinstance(patients, dict) or not all(isinstance(facts, dict) for facts in patients.values()):
        raise InputError(f"{datalist}: expected `patients` as {{name: {{age: ...}}}}, found another form")
    return patients


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _text(values: Sequence[float]) -> str:
    if not values:
        return "no patient"
    mean, sd = mean_sd(values)
    return f"{mean:.3f}" + ("" if sd is None else f" ± {sd:.3f}")
