"""What needs no server: addresses, queries, codes, and lesions as regions of one type."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from pydicom.sr import _cid_dict
from pydicom.sr.codedict import codes

from headct.cli.main import main
from headct.pacs.address import service_url
from headct.pacs.query import StudyQuery, find_studies
from headct.pacs.run import predict_studies
from headct.predict.findings.lesions import find_lesions
from headct.predict.findings.parts import find_parts
from headct.predict.output import dicom_codes as code
from headct.predict.output.storage import read_failures
from tools.core.errors import InputError


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("dicomweb+http://host/dicom-web/", "http://host/dicom-web"),
        ("dicomweb+https://[::1]:8042/a/b", "https://[::1]:8042/a/b"),
    ],
)
def test_addresses(address, expected):
    assert service_url(address) == expected


@pytest.mark.parametrize(
    "address",
    [
        "dicomweb+http://me:hunter2@host/dicom-web", "https://me:hunter2@host/dicom-web",
        "dicomweb+https://me:hunter2/@host/", "dicomweb+ftp://host/dicom-web", "dicomweb+https:///dicom-web",
        "https://host/dicom-web", "dicomweb+https://host/dicom-web?PatientID=1", "dicomweb+http://host:x/",
    ],
)  # fmt: skip
def test_addresses_that_cannot_be_one(address, capsys, tmp_path):
    assert main(["predict", address, "--study", "1.2", "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "expected" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    "query",
    [
        {}, {"study": "1.2.x"}, {"study": "1." * 40 + "1"}, {"patient_id": "47*"}, {"date_range": "2026"},
        {"date_range": "20260230"}, {"date_range": "20260202-20260101"}, {"date_range": "-"},
        {"study": "1.2", "modality": "ct*"},
    ],
)  # fmt: skip
def test_queries_that_cannot_be_one(query):
    with pytest.raises(InputError, match="expected"):
        StudyQuery(**query)


@pytest.mark.parametrize("option", [["--send"], ["--modality", "MR"]])
def test_options_of_a_pacs_need_one(tmp_path, capsys, option):
    assert main(["predict", str(tmp_path), *option]) == 2
    assert f"{option[0]}: expected a PACS as INPUT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("group", "found"),
    [
        (7150, [code.CATEGORY]), (7151, [place for _, place in code.PLACES]),
        (244, list(code.SIDES.values())),
        (7472, [code.VOLUME]), (7470, [code.LENGTH]), (6141, [code.VALUE]), (100, [code.PROCEDURE]),
        (240, [code.PRESENT, code.ABSENT]), (7464, [code.MEAN, code.MAXIMUM]),
    ],
)  # fmt: skip
def test_codes_are_of_their_context_groups(group, found):
    names = _cid_dict.cid_concepts[group]
    known = {
        (scheme, getattr(getattr(codes, scheme), name).value) for scheme in names for name in names[scheme]
    }
    assert {(one.scheme_designator, one.value) for one in found} <= known


def test_parts_are_the_lesions_by_type():
    """Two lesions, one of two types, and a spot: counted by hand, and as the report has them."""
    label = np.zeros((30, 30, 10), np.uint8)
    label[2:10, 2:10, 2:6] = 2
    label[10:12, 2:10, 2:6] = 3
    label[20:24, 20:24, 2:4] = 1
    label[28, 28, 8] = 1
    hu, spacing = np.where(label == 3, 60.0, 70.0), np.array([5.0, 5.0, 5.0])
    names = {1: "EDH", 2: "IPH", 3: "IVH"}
    lesions, small = find_lesions(label, hu, np.diag([5.0, 5, 5, 1]), spacing, names, min_ml=1.0)
    case = type("Case", (), {"lesions": lesions, "classes": names})
    numbers, parts = find_parts(label, hu, np.diag([5.0, 5, 5, 1]), case)
    assert [(p.lesion, p.kind, p.whole) for p in parts] == [
        (1, "IPH", False), (1, "IVH", False), (2, "EDH", True), (0, "EDH", True),
    ]  # fmt: skip
    assert [p.volume_ml for p in parts] == [256 / 8, 64 / 8, 32 / 8, 0]
    assert [p.mean_hu for p in parts[:3]] == [70, 60, 70]
    assert parts[0].volume_ml + parts[1].volume_ml == lesions[0].volume_ml
    assert parts[2].diameter_mm == lesions[1].diameter_mm
    assert [(numbers == p.number).sum() for p in parts] == [256, 64, 32, 1]
    assert ((numbers > 0) == (label > 0)).all()
    assert len(small) == 1


class IgnoresFilters:
    """A search of a server that does not know what it is asked for; Orthanc knows it."""

    url, client = "https://host", property(lambda self: self)

    def answering(self, task):
        return nullcontext()

    def search_for_studies(self, offset=0, **_):
        found = [
            ("1.2.3", "4711", ["20260101"], ["CT"]), ("1.2.4", "4712", ["20260131"], ["SR", "CT"]),
            ("1.2.5", " 4711 ", ["2026.02.01"], []), ("1.2.6", "4713", [], ["CT"]),
            ("1.2.7", "4714", ["20260115"], ["MR", "CTPROTOCOL"]),
        ]  # fmt: skip
        rows = [
            {
                "0020000D": {"vr": "UI", "Value": [uid]}, "00100020": {"vr": "LO", "Value": [number]},
                "00080020": {"vr": "DA", "Value": day}, "00080061": {"vr": "CS", "Value": modalities},
            }
            for uid, number, day, modalities in found
        ]  # fmt: skip
        return rows[offset:]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"study": "1.2.4"}, "4"), ({"patient_id": "4711"}, "35"), ({"date_range": "20260101"}, "3"),
        ({"date_range": "20260101-20260131"}, "34"), ({"date_range": "-20260131"}, "34"),
        ({"date_range": "20260102-"}, "45"), ({"patient_id": "4711", "date_range": "20260201"}, "5"),
        ({"date_range": "20260102-", "modality": "MR"}, "57"), ({"patient_id": "4713"}, "6"),
    ],
)  # fmt: skip
def test_results_that_were_not_asked_for_are_left_out(query, found):
    """A study without a date is in no range; one that doesn't tell its modalities is asked for its series."""
    studies = find_studies(IgnoresFilters(), StudyQuery(**query, all_studies=True))
    assert "".join(uid[-1] for uid in studies) == found


def test_nothing_that_was_asked_for():
    with pytest.raises(InputError, match="found none that fits"):
        find_studies(IgnoresFilters(), StudyQuery(patient_id="4714"))


def test_one_earlier_result_is_not_of_several_studies(tmp_path, monkeypatch):
    """Of two batches the first study of each had got it."""
    monkeypatch.setattr("headct.pacs.run.find_studies", lambda pacs, query: ["1.2.3", "1.2.4"])
    monkeypatch.setattr("headct.pacs.run.EarlierResults", lambda path: SimpleNamespace(cases={"a": None}))
    query, out = StudyQuery(date_range="20260101-", all_studies=True), tmp_path / "out"
    with pytest.raises(InputError, match="yesterday: expected earlier results of each of the 2 studies"):
        predict_studies("dicomweb+https://host", query, out=out, prior="yesterday")
    assert not out.exists()


def test_studies_that_failed_are_listed_when_the_server_is_gone(tmp_path, monkeypatch):
    """After the first batch of eight, of which none came."""

    def fetch(pacs, study, *_):
        raise InputError(f"{pacs.url if study == '1.2.9' else f'study {study}'}: expected more, found none")

    monkeypatch.setattr(
        "headct.pacs.run.find_studies", lambda pacs, query: [f"1.2.{n}" for n in range(1, 10)]
    )
    monkeypatch.setattr("headct.pacs.run.fetch_study", fetch)
    query = StudyQuery(date_range="20260101-", all_studies=True)
    with pytest.raises(InputError, match="https://host: expected"):
        predict_studies("dicomweb+https://host", query, out=tmp_path)
    assert [failure.study_uid for failure in read_failures(tmp_path)] == [f"1.2.{n}" for n in range(1, 9)]
