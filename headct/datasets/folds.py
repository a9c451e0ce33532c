"""Folds and a held-out test set: whole patients by default, single slices where that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headct.datasets.collection import Record
from tools.core.classes import TYPES
from tools.core.errors import InputError
from tools.data.splits import SPLITS


def split(
    records: Sequence[Record], folds: int, by: str = "patient", test: float = 0.0, seed: int = 0
) -> tuple[list[Record], list[Record]]:
    """Give records folds, and set some aside for testing.

    By `patient`, all records of a patient share a fold, and folds get alike numbers of patients, slices, and
    slices of each type. By `slice`, folds are stratified by the types on the slice (the 2022 D-Unet paper),
    and patients leak.

    Args:
        records: the cases; by `slice` each must be one slice.
        folds: number of folds; 0 leaves `fold` as it is.
        by: "patient" or "slice".
        test: share of the patients' slices, or of the slices, to set aside, 0 to below 1.
        seed: the same seed gives the same split, in whatever order the records come.

    Returns:
        (training, testing): the records of training with `fold` in their item, in their order.

    Raises:
        InputError: an argument that cannot be used, volumes split by slice, or too few patients or slices.
    """
    check_split(folds, by, test)
    if by == "slice" and any(len(record.slices) != 1 for record in records):
        raise InputError(
            "by: expected single slices to split by slice, found volumes (slices=True makes them)"
        )
    shares = np.array([test] + [(1 - test) / max(1, folds)] * max(1, folds))
    parts = (_by_patient if by == "patient" else _by_slice)(records, shares, seed)
    empty = [k - 1 for k in range(len(shares)) if shares[k] > 0 and k not in parts]
    if empty:
        units = len({record.item["patient"] for record in records}) if by == "patient" else len(records)
        name = "test set" if empty[0] < 0 else f"fold {empty[0]}"
        raise InputError(
            f"folds: expected enough {by}s for {folds} folds and a test share of {test:g}, found {units}, "
            f"which leaves the {name} empty"
        )
    training, testing = [], []
    for record, part in zip(records, parts, strict=True):
        if part == 0:
            record.item.pop("fold", None)
            testing.append(record)
        else:
            if folds:
                record.item["fold"] = int(part) - 1
            training.append(record)
    return training, testing


def assign_folds(
    items: Sequence[Mapping[str, Any]], folds: int, seed: int = 0, by: str = "patient"
) -> list[dict[str, Any]]:
    """The cases of a datalist, each with its `fold` from 0 to folds - 1, in their order.

    Folds that the items have are kept if there are as many and they split that way; else `split` deals anew.

    Args:
        items: entries of a datalist. `patient` (else `case`, else the image) tells whose they are; `types`,
            `ivh` and `hemorrhage` what is spread evenly.
        folds: number of folds.
        seed: of dealing out.
        by: "patient", all cases of a patient are in the same fold; "slice", they need not be, and the cases
            must be single slices.

    Raises:
        InputError: fewer patients (or slices) than folds, fewer than two folds, or volumes split by slice.
    """
    records = [_record(item) for item in items]
    if by == "slice":
        for item, record in zip(items, records, strict=True):
            if "slice" not in item:
                raise InputError(
                    f"{record.item['case']}: expected single slices to split by slice, found a volume; "
                    "a datalist of slices has entries with the key `slice`"
                )
    patients: dict[str, set[Any]] = {}
    for item, record in zip(items, records, strict=True):
        patients.setdefault(record.item["patient"], set()).add(item.get("fold"))
    count = len(patients) if by == "patient" else len(items)
    if not 2 <= folds <= count:
        raise InputError(f"folds: expected 2 to {count}, the number of {by}s, found {folds}")
    leaks = any(len(own) > 1 for own in patients.values())
    if set().union(*patients.values()) == set(range(folds)) and leaks == (by == "slice"):
        return [dict(item) for item in items]
    split(records, folds, by, seed=seed)
    return [{**item, "fold": record.item["fold"]} for item, record in zip(items, records, strict=True)]


def check_split(folds: int, by: str, test: float) -> None:
    """Raise `InputError` for arguments that cannot be used."""
    if by not in SPLITS:
        raise InputError(f"by: expected one of {', '.join(SPLITS)}, found {by!r}")
    if not isinstance(folds, int) or isinstance(folds, bool) or folds < 0 or folds == 1:
        raise InputError(f"folds: expected 0 (none) or a number from 2, found {folds!r}")
    if isinstance(test, bool) or not isinstance(test, int | float) or not 0 <= test < 1:
        raise InputError(f"test: expected a share from 0 to below 1, found {test!r}")


def leaking_patients(records: Sequence[Record]) -> list[str]:
    """Patients with records in more than one fold, or in a fold and in the test set."""
    places: dict[str, set[int]] = {}
    for record in records:
        places.setdefault(record.item["patient"], set()).add(record.item.get("fold", -1))
    return sorted(patient for patient, folds in places.items() if len(folds) > 1)


def balanced(records: Sequence[Record], seed: int = 0) -> tuple[list[Record], int]:
    """As many slices without as with hemorrhage, drawn at random; and how many were left out.

    The D-Unet paper trains on 318 + 318 slices of CT-ICH.

    Raises:
        InputError: a record is a volume.
    """
    if any(len(record.slices) != 1 for record in records):
        raise InputError("balance: expected single slices, found volumes (slices=True makes them)")
    bleeding = sum(record.bleeding for record in records)
    rest = sorted((r.item["case"], k) for k, r in enumerate(records) if not r.bleeding)
    chosen = np.random.default_rng(seed).permutation(len(rest))[:bleeding]
    keep = {rest[k][1] for k in chosen} | {k for k, r in enumerate(records) if r.bleeding}
    return [record for k, record in enumerate(records) if k in keep], len(records) - len(keep)


def _record(item: Mapping[str, Any]) -> Record:
    """What `split` needs to know of an entry of a datalist, which is taken for one slice."""
    case = str(item.get("case") or item["image"])
    kinds = set(str(item.get("types") or "").split("+")) | ({"ivh"} if item.get("ivh") else set())
    types = tuple(kind for kind in TYPES if kind in kinds)
    known = {"case": case, "patient": str(item.get("patient") or case)}
    return Record(known, [types if types or not item.get("hemorrhage") else None])


def _by_patient(records: Sequence[Record], shares: np.ndarray, seed: int) -> np.ndarray:
    """Part of each record; a patient goes where the patients so far fall shortest of the part's share."""
    patients = sorted({record.item["patient"] for record in records})
    number = {patient: k for k, patient in enumerate(patients)}
    owner = np.array([number[record.item["patient"]] for record in records], dtype=int)
    rows = [[len(r.slices), r.bleeding, *(r.slices_with(kind) for kind in TYPES), r.untyped] for r in records]
    loads = np.zeros((len(patients), 2 + len(rows[0]) if rows else 2))
    loads[:, 0] = 1
    if rows:
        np.add.at(loads[:, 2:], owner, np.array(rows, float))
    loads[:, 1] = loads[:, 3] > 0  # patients with hemorrhage
    loads /= np.maximum(loads.sum(0), 1)
    loads[:, :2] *= 2  # the number of patients matters more than that of their slices
    order = np.random.default_rng(seed).permutation(len(patients))
    order = order[np.argsort(-loads[order].sum(1), kind="stable")]  # large ones first, small ones even out
    filled = np.zeros((len(shares), loads.shape[1]))
    goal = np.outer(shares, loads.sum(0))
    part = np.zeros(len(patients), int)
    for patient in order:
        lack = ((goal - filled) * loads[patient]).sum(1)
        lack[shares == 0] = -np.inf
        part[patient] = int(lack.argmax())
        filled[part[patient]] += loads[patient]
    return part[owner]


def _by_slice(records: Sequence[Record], shares: np.ndarray, seed: int) -> np.ndarray:
    """Part of each record: stratum after stratum, shuffled, is dealt to whichever part lacks most."""
    strata: dict[str, list[tuple[str, int]]] = {}
    for k, record in enumerate(records):
        types = record.slices[0]
        name = "unknown" if types is None else "+".join(types)
        strata.setdefault(name, []).append((record.item["case"], k))
    rng = np.random.default_rng(seed)
    dealt: list[int] = []
    for name in sorted(strata):
        cases = sorted(strata[name])
        dealt += [cases[k][1] for k in rng.permutation(len(cases))]
    part = np.zeros(len(records), int)
    filled = np.zeros(len(shares))
    for count, index in enumerate(dealt, 1):
        lack = np.where(shares > 0, np.round(shares * count - filled, 9), -np.inf)
        part[index] = int(lack.argmax())
        filled[part[index]] += 1
    return part
