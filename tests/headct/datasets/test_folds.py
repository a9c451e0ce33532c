"""Splits: whole patients stay together, types are spread, and slices split by name alone."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from headct.datasets.collection import Record
from headct.datasets.folds import balanced, leaking_patients, split
from tools.core.errors import InputError


def cohort(seed: int = 0, patients: int = 60) -> list[Record]:
    """Slices of patients as in CT-ICH: about 30 each, 44 % of patients with a run of slices of 1-2 types."""
    rng = random.Random(seed)
    records = []
    for patient in range(49, 49 + patients):
        types = rng.choice([("edh",), ("edh",), ("iph",), ("sdh",), ("iph", "ivh"), ("sah",)])
        start, length = rng.randint(5, 15), rng.randint(2, 14) if rng.random() < 0.44 else 0
        for number in range(1, rng.randint(26, 38)):
            seen = types if start <= number < start + length else ()
            item = {"case": f"{patient:03d}_{number:03d}", "patient": f"{patient:03d}", "slice": number}
            records.append(Record(item, [seen]))
    return records


def volumes(count: int) -> list[Record]:
    return [Record({"case": f"c{k}", "patient": f"c{k}"}, [("iph",), ()]) for k in range(count)]


def test_by_patient_keeps_patients_together_and_spreads_types() -> None:
    records = cohort()
    training, testing = split(records, folds=5)
    assert testing == []
    assert training == records  # order kept
    assert leaking_patients(records) == []
    patients = Counter({r.item["patient"]: r.item["fold"] for r in records}.values())
    assert set(patients) == set(range(5))
    assert max(patients.values()) - min(patients.values()) <= 4
    bleeding = Counter(r.item["fold"] for r in records if r.bleeding)
    assert max(bleeding.values()) <= 1.35 * min(bleeding.values())
    for kind in ("edh", "iph", "sdh", "ivh", "sah"):
        holders = {r.item["fold"] for r in records if r.slices_with(kind)}
        patients_with = {r.item["patient"] for r in records if r.slices_with(kind)}
        assert len(holders) >= min(5, len(patients_with)) - 1, kind


def test_by_patient_with_test_set() -> None:
    records = cohort()
    training, testing = split(records, folds=4, test=0.2)
    assert {r.item["patient"] for r in training} & {r.item["patient"] for r in testing} == set()
    assert not any("fold" in r.item for r in testing)
    assert len(testing) / len(records) == pytest.approx(0.2, abs=0.05)
    share = sum(r.bleeding for r in testing) / sum(r.bleeding for r in records)
    assert share == pytest.approx(0.2, abs=0.06)


def test_by_slice_is_stratified_and_leaks() -> None:
    """10 % for testing, 10 folds, as the D-Unet paper: each stratum within one slice of its share."""
    records = cohort()
    training, testing = split(records, folds=10, by="slice", test=0.1)
    assert len(testing) == round(0.1 * len(records))
    strata = Counter(r.slices[0] for r in records)
    for fold in range(10):
        part = Counter(r.slices[0] for r in training if r.item["fold"] == fold)
        for types, count in strata.items():
            assert abs(part[types] - 0.09 * count) <= 1.0, (fold, types)
    assert len(leaking_patients(records)) == 60


@pytest.mark.parametrize("by", ["patient", "slice"])
def test_split_does_not_depend_on_order_but_on_seed(by: str) -> None:
    def folds(seed: int, shuffle: bool) -> dict[str, int]:
        records = cohort()
        if shuffle:
            random.Random(9).shuffle(records)
        split(records, 5, by, test=0.1, seed=seed)
        return {r.item["case"]: r.item.get("fold", -1) for r in records}

    assert folds(0, False) == folds(0, True)
    assert folds(0, False) != folds(1, False)


def test_no_folds_keeps_those_there_are() -> None:
    records = volumes(3)
    records[0].item["fold"] = 7
    training, _ = split(records, folds=0)
    assert [r.item.get("fold") for r in training] == [7, None, None]


def test_every_fold_gets_a_patient_down_to_one_each() -> None:
    records = volumes(5)
    split(records, folds=5)
    assert sorted(r.item["fold"] for r in records) == [0, 1, 2, 3, 4]


def test_balanced() -> None:
    records = cohort()
    kept, dropped = balanced(records, seed=3)
    bleeding = sum(r.bleeding for r in records)
    assert sum(r.bleeding for r in kept) == bleeding
    assert len(kept) == 2 * bleeding
    assert dropped == len(records) - len(kept)
    assert [r for r in records if r in kept] == kept
    assert {r.item["case"] for r in balanced(records, seed=4)[0]} != {r.item["case"] for r in kept}


BAD = {
    "by": (dict(folds=5, by="case"), "by: expected one of patient, slice, found 'case'"),
    "folds": (dict(folds=1), "folds: expected 0 (none) or a number from 2, found 1"),
    "words": (dict(folds="5"), "folds: expected 0 (none) or a number from 2, found '5'"),
    "test": (dict(folds=5, test=1.0), "test: expected a share from 0 to below 1, found 1.0"),
    "volumes": (dict(folds=2, by="slice"), "expected single slices to split by slice, found volumes"),
    "few": (dict(folds=5), "expected enough patients for 5 folds and a test share of 0, found 4"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        split(volumes(4), **arguments)
    assert message in str(error.value)


def test_volumes_are_not_balanced() -> None:
    with pytest.raises(InputError, match="balance: expected single slices"):
        balanced(volumes(4))
