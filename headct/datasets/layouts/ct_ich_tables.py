"""The two tables of CT-ICH: a row per slice, a row per patient.

Their quirks, in the versions 1.0.0 and 1.3.1: a byte-order mark before the first header, line breaks within
headers, a second header row below merged cells, empty rows at the end, and empty cells for zero or unknown.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from tools.core.classes import TYPES
from tools.core.errors import InputError

COLUMNS = {
    "edh": "epidural",
    "iph": "intraparenchymal",
    "ivh": "intraventricular",
    "sah": "subarachnoid",
    "sdh": "subdural",
}
FLAGS = {"": False, "0": False, "1": True, "0.0": False, "1.0": True}


@dataclass(frozen=True)
class SliceRow:
    """What radiologists wrote about one slice; slices count from 1."""

    patient: str
    slice: int
    types: tuple[str, ...]
    fracture: bool
    contradictory: bool  # types and "no hemorrhage" say the opposite of each other


@dataclass(frozen=True)
class PatientRow:
    """What is known of one patient; `age` in years, None and "" where the table says nothing."""

    patient: str
    age: float | None
    sex: str
    types: tuple[str, ...]
    fracture: bool


def read_slice_table(path: Path) -> dict[tuple[str, int], SliceRow]:
    """Rows of `hemorrhage_diagnosis*.csv` by patient ("049") and slice number.

    Raises:
        InputError: no such file; no CSV with the expected columns; a cell that is no flag or number; a slice
            that occurs twice.
    """
    rows: dict[tuple[str, int], SliceRow] = {}
    columns = {**COLUMNS, "patient": "patient", "slice": "slice", "none": "no", "fracture": "fracture"}
    for line, row in _read(path, columns):
        patient, number = _patient(path, line, row), _whole(path, line, "slice number", row["slice"])
        if (patient, number) in rows:
            raise InputError(
                f"{path}, line {line}: expected each slice once, found patient {patient} slice {number} again"
            )
        types = tuple(kind for kind in TYPES if _flag(path, line, COLUMNS[kind], row[kind]))
        nothing = _flag(path, line, "no hemorrhage", row["none"])
        fracture = _flag(path, line, "fracture", row["fracture"])
        rows[patient, number] = SliceRow(patient, number, types, fracture, bool(types) == nothing)
    return rows


def read_patient_table(path: Path) -> dict[str, PatientRow]:
    """Rows of `*atient_demographics.csv` by patient ("049").

    Raises:
        InputError: as for `read_slice_table`; an age that is no number of years, a sex that is neither.
    """
    rows: dict[str, PatientRow] = {}
    columns = {**COLUMNS, "patient": "patient", "age": "age", "sex": "gender", "fracture": "fracture"}
    for line, row in _read(path, columns):
        patient = _patient(path, line, row)
        if patient in rows:
            raise InputError(f"{path}, line {line}: expected each patient once, found {patient} again")
        sex = row["sex"].lower()
        if sex not in ("", "male", "female", "m", "f"):
            raise InputError(f"{path}, line {line}: expected male or female, found {row['sex']!r}")
        types = tuple(kind for kind in TYPES if _flag(path, line, COLUMNS[kind], row[kind]))
        fracture = _flag(path, line, "fracture", row["fracture"])
        sex = {"m": "male", "f": "female"}.get(sex, sex)
        rows[patient] = PatientRow(patient, _age(path, line, row["age"]), sex, types, fracture)
    return rows


def _read(path: Path, columns: dict[str, str]) -> list[tuple[int, dict[str, str]]]:
    """Non-empty rows as (line in the file, cell by key); a column is known by the start of its header."""
    if not path.is_file():
        raise InputError(f"{path}: expected a table (CSV), found no such file")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a table (CSV, UTF-8), found: {error}") from error
    lines = [(line, row) for line, row in lines if any(row)]
    if not lines:
        raise InputError(f"{path}: expected a table (CSV), found an empty file")
    header = [" ".join(cell.lower().split()) for cell in lines.pop(0)[1]]
    if lines and not lines[0][1][0] and COLUMNS["ivh"] in (cell.lower() for cell in lines[0][1]):
        below = lines.pop(0)[1]  # names of the columns under a merged cell
        header = [low.lower() or high for high, low in zip_longest(header, below, fillvalue="")]
    places = {}
    for key, start in columns.items():
        found = [place for place, name in enumerate(header) if _starts(name, start)]
        if len(found) != 1:
            raise InputError(
                f"{path}: expected one column whose header starts with {start!r}, found {len(found)} "
                f"in {header}"
            )
        places[key] = found[0]
    last = max(places.values())
    for line, row in lines:
        if len(row) <= last:
            raise InputError(f"{path}, line {line}: expected {len(header)} cells, found {len(row)}")
    return [(line, {key: row[place] for key, place in places.items()}) for line, row in lines]


def _starts(name: str, start: str) -> bool:
    """Whether a header starts with a word: "PatientNumber" and "Patient Number" with "patient"."""
    if start == "no":  # not the remarks, "Note"
        return name.replace("_", " ").startswith("no ")
    return name.startswith(start)


def _patient(path: Path, line: int, row: dict[str, str]) -> str:
    return f"{_whole(path, line, 'patient number', row['patient']):03d}"


def _whole(path: Path, line: int, what: str, cell: str) -> int:
    try:
        number = float(cell)
        if number < 1 or number != int(number):
            raise ValueError
    except (ValueError, OverflowError):
        raise InputError(f"{path}, line {line}: expected a {what} from 1, found {cell!r}") from None
    return int(number)


def _flag(path: Path, line: int, what: str, cell: str) -> bool:
    if cell not in FLAGS:
        raise InputError(f"{path}, line {line}: expected 0, 1 or nothing for {what}, found {cell!r}")
    return FLAGS[cell]


def _age(path: Path, line: int, cell: str) -> float | None:
    if not cell:
        return None
    try:
        age = float(cell)
    except ValueError:
        age = -1.0
    if not 0 <= age <= 130:
        raise InputError(f"{path}, line {line}: expected an age in years, found {cell!r}")
    return age
