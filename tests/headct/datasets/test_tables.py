"""The two tables of CT-ICH: their quirks, the real ones, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from headct.datasets.layouts.ct_ich_tables import PatientRow, SliceRow, read_patient_table, read_slice_table
from tools.core.errors import InputError

SLICES = (
    "PatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,"
    "No_Hemorrhage,Fracture_Yes_No"
)
PATIENTS = (
    '"Patient Number","Age\n(years)","Gender","Intraventricular","Intraparenchymal","Subarachnoid",'
    '"Epidural","Subdural","Fracture (Yes/No)","Condition on file","Note"'
)
# Version 1.3.1: the types stand in a second row, below one merged cell.
PATIENTS_131 = (
    '"Patient Number","Age\n(years)",Gender,Hemorrhage type based on the radiologists diagnosis ,,,,,'
    "Fracture (yes 1/no 0),Note1\n,,,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,,"
)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_slice_table_with_byte_order_mark_and_empty_rows(tmp_path: Path) -> None:
    text = f"{SLICES}\r\n49,1,0,0,0,0,0,1,0\r\n49,2,1,1,,0,0,0,1\r\n,,,,,,,,\r\n50,1,0,0,0,1,0,1,0\r\n\r\n"
    rows = read_slice_table(write(tmp_path / "t.csv", text, "utf-8-sig"))
    assert rows == {
        ("049", 1): SliceRow("049", 1, (), False, False),
        ("049", 2): SliceRow("049", 2, ("iph", "ivh"), True, False),
        ("050", 1): SliceRow("050", 1, ("edh",), False, True),  # says both a type and none
    }


@pytest.mark.parametrize("header", [PATIENTS, PATIENTS_131], ids=["1.0.0", "1.3.1"])
def test_patient_table_with_line_breaks_and_missing_values(tmp_path: Path, header: str) -> None:
    body = (
        '49,35,"Male",,1,,1,,1,"Two words, and a comma"\n50,0.58,"Female",,,,,,,""\n51,,,,,,,1,,\n,,,,,,,,,\n'
    )
    body = "\n".join(line + ("," if header is PATIENTS and line else "") for line in body.split("\n"))
    assert read_patient_table(write(tmp_path / "p.csv", f"{header}\n{body}")) == {
        "049": PatientRow("049", 35.0, "male", ("edh", "iph"), True),
        "050": PatientRow("050", 0.58, "female", (), False),
        "051": PatientRow("051", None, "", ("sdh",), False),
    }


def test_real_tables(real_data: Path) -> None:
    """Counts as a spreadsheet gives them; the paper: 36 patients and 318 slices with hemorrhage."""
    folder = real_data / "ct_ich_v1.0.0_sample"
    slices = read_slice_table(folder / "hemorrhage_diagnosis.csv")
    assert len(slices) == 2501
    assert sum(bool(row.types) for row in slices.values()) == 318
    counts = {
        kind: sum(kind in row.types for row in slices.values())
        for kind in ("ivh", "iph", "sah", "edh", "sdh")
    }
    assert counts == {"ivh": 24, "iph": 73, "sah": 18, "edh": 173, "sdh": 56}
    assert sum(len(row.types) > 1 for row in slices.values()) == 25
    assert sum(row.fracture for row in slices.values()) == 195
    assert slices["080", 9].types == ("iph", "ivh")
    assert not any(row.contradictory for row in slices.values())
    patients = read_patient_table(folder / "patient_demographics.csv")
    assert len(patients) == 82
    assert {patient for patient, _ in slices} == set(patients)
    assert sum(bool(row.types) for row in patients.values()) == 36
    assert sum(row.sex == "male" for row in patients.values()) == 46  # as the paper says
    assert sum(row.age or 0 for row in patients.values()) / 82 == pytest.approx(27.8, abs=0.05)  # likewise
    assert patients["085"] == PatientRow("085", 0.002747253, "male", ("ivh",), False)


BAD_SLICES = {
    "empty": ("", "expected a table (CSV), found an empty file"),
    "header": ("a,b\n1,2", "one column whose header starts with 'epidural', found 0"),
    "twice": (f"{SLICES}\n49,1,0,0,0,0,0,1,0\n049,1,0,0,0,0,0,1,0", "found patient 049 slice 1 again"),
    "flag": (
        f"{SLICES}\n49,1,2,0,0,0,0,1,0",
        "line 2: expected 0, 1 or nothing for intraventricular, found '2'",
    ),
    "patient": (f"{SLICES}\nx,1,0,0,0,0,0,1,0", "line 2: expected a patient number from 1, found 'x'"),
    "slice": (f"{SLICES}\n49,0,0,0,0,0,0,1,0", "line 2: expected a slice number from 1, found '0'"),
    "part": (f"{SLICES}\n49,1.5,0,0,0,0,0,1,0", "line 2: expected a slice number from 1, found '1.5'"),
    "short": (f"{SLICES}\n49,1,0", "line 2: expected 9 cells, found 3"),
}


@pytest.mark.parametrize(("text", "message"), BAD_SLICES.values(), ids=BAD_SLICES)
def test_bad_slice_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read_slice_table(write(tmp_path / "t.csv", text))
    assert message in str(error.value)
    assert str(tmp_path / "t.csv") in str(error.value)


BAD_PATIENTS = {
    "twice": (
        f"{PATIENTS}\n49,1,Male,,,,,,,,\n49,1,Male,,,,,,,,",
        "expected each patient once, found 049 again",
    ),
    "age": (f"{PATIENTS}\n49,old,Male,,,,,,,,", "expected an age in years, found 'old'"),
    "old": (f"{PATIENTS}\n49,350,Male,,,,,,,,", "expected an age in years, found '350'"),
    "sex": (f"{PATIENTS}\n49,35,Ford,,,,,,,,", "expected male or female, found 'Ford'"),
}


@pytest.mark.parametrize(("text", "message"), BAD_PATIENTS.values(), ids=BAD_PATIENTS)
def test_bad_patient_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read_patient_table(write(tmp_path / "p.csv", text))
    assert message in str(error.value)


def test_no_table_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no such file"):
        read_slice_table(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"expected a table \(CSV, UTF-8\)"):
        read_slice_table(tmp_path / "binary.csv")
