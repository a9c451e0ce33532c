"""Folds of a datalist's entries: kept where they fit, else dealt out as `prepare` deals."""

from __future__ import annotations

from collections import Counter

import pytest

from headct.datasets.collection import Record
from headct.datasets.folds import assign_folds, split
from tools.core.errors import InputError


def cases(patients: int = 6, scans: int = 2) -> list[dict]:
    """Two scans of every patient, every third patient with intraventricular blood."""
    return [
        {"image": f"p{p}_{s}.nii.gz", "case": f"p{p}_{s}", "patient": f"p{p}", "ivh": p % 3 == 0}
        for p in range(patients)
        for s in range(scans)
    ]


def test_folds_by_patient():
    dealt = assign_folds(cases(), 3)
    for patient in range(6):
        assert len({item["fold"] for item in dealt if item["patient"] == f"p{patient}"}) == 1
    assert [sum(item["fold"] == fold for item in dealt) for fold in range(3)] == [4, 4, 4]
    with_ivh = [sum(item["fold"] == fold and item["ivh"] for item in dealt) for fold in range(3)]
    assert sorted(with_ivh) == [0, 2, 2]
    assert assign_folds(cases(), 3) == dealt
    assert assign_folds(cases(), 3, seed=1) != dealt


def test_folds_of_the_datalist_are_kept_unless_they_split_a_patient():
    own = [{**item, "fold": number // 4} for number, item in enumerate(cases())]
    assert assign_folds(own, 3) == own
    split = [{**item, "fold": number % 3} for number, item in enumerate(cases())]
    for patient in range(6):
        assert len({i["fold"] for i in assign_folds(split, 3) if i["patient"] == f"p{patient}"}) == 1
    assert {item["fold"] for item in assign_folds(own, 2)} == {0, 1}


@pytest.mark.parametrize("folds", [1, 7])
def test_wrong_number_of_folds(folds):
    with pytest.raises(InputError, match=f"expected 2 to 6, the number of patients, found {folds}"):
        assign_folds(cases(), folds)


TYPES = ["edh", "edh+sah", "", "", "sdh"]


def slices(patients: int = 6, each: int = 10) -> list[dict]:
    return [
        {
            "image": f"{p}/{k}.jpg",
            "case": f"{p}_{k:03d}",
            "patient": str(p),
            "slice": k,
            "types": TYPES[k % 5],
        }
        for p in range(patients)
        for k in range(each)
    ]


def test_dealt_by_slice_alike_in_types():
    dealt = assign_folds(slices(), 5, by="slice")
    assert [item["case"] for item in dealt] == [item["case"] for item in slices()]
    for kind in set(TYPES):
        count = Counter(item["fold"] for item in dealt if item["types"] == kind)
        assert max(count.values()) - min(count.values()) <= 1
        assert len(count) == 5
    assert dealt == assign_folds(slices(), 5, by="slice")
    assert dealt != assign_folds(slices(), 5, seed=1, by="slice")


def test_patients_are_kept_together_unless_slices_are_asked_for():
    """A datalist that was split by slice is split anew by patient, and kept where slices are asked for."""
    leaking = assign_folds(slices(), 5, by="slice")
    kept = assign_folds(leaking, 5, seed=3, by="slice")
    assert kept == leaking
    dealt = assign_folds(leaking, 5)
    for patient in range(6):
        assert len({item["fold"] for item in dealt if item["patient"] == str(patient)}) == 1
    # folds by patient are no split by slice
    assert assign_folds(dealt, 5, by="slice") != dealt


def test_volumes_cannot_be_split_by_slice():
    with pytest.raises(InputError, match=r"case_1: expected single slices .* found a volume"):
        assign_folds([{"image": "case_1.nii.gz", "case": "case_1"}], 2, by="slice")
    with pytest.raises(InputError, match="number of slices, found 61"):
        assign_folds(slices(), 61, by="slice")


def test_dealt_as_prepare_deals():
    """The same patients and slices, whether as records of a data set or as entries of its datalist."""
    for by in ("patient", "slice"):
        records = [
            Record(dict(item), [tuple(kind for kind in item["types"].split("+") if kind)])
            for item in slices()
        ]
        split(records, 5, by, seed=2)
        dealt = assign_folds(slices(), 5, seed=2, by=by)
        assert [item["fold"] for item in dealt] == [record.item["fold"] for record in records]
