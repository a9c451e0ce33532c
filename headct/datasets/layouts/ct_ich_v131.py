"""CT-ICH 1.3.1 (Hssayeni 2020): CT volumes and binary masks as NIfTI, and two tables.

    ROOT/ct_scans/049.nii, ROOT/masks/049.nii
    ROOT/hemorrhage_diagnosis_raw_ct.csv, ROOT/Patient_demographics.csv

Row k of a patient in the table of slices is slice k of the file, from 1. Scans of the patients 59-65 do not
exist. The type of a mask's voxels is known where the table gives its slice exactly one type.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from headct.datasets.collection import Collection, Options, need_folder, ranges
from headct.datasets.layouts.ct_ich_tables import SliceRow, read_slice_table
from headct.datasets.layouts.ct_ich_v1 import add_patients
from headct.datasets.layouts.pairing import pair_folders
from headct.datasets.layouts.volumes import (
    Pair,
    Twins,
    entry,
    read_pair,
    slice_axis,
    with_counts,
    write_mask,
)
from tools.core.classes import CLASS_VALUES, UNKNOWN_VALUE
from tools.core.errors import InputError

WITHOUT_SCAN = frozenset(f"{number:03d}" for number in range(59, 66))  # of no use to report


def read(root: Path, options: Options) -> Collection:
    """Check the volumes below `root`, and write their masks as 0/1 (`labels`) and by type (`classes`).

    Raises:
        InputError: no such folders, or tables that cannot be read.
    """
    scans = need_folder(root / "ct_scans", "CT volumes (CT-ICH 1.3.1)")
    masks = need_folder(root / "masks", "masks (CT-ICH 1.3.1)")
    table = read_slice_table(root / "hemorrhage_diagnosis_raw_ct.csv")
    rows: dict[str, dict[int, SliceRow]] = {}
    for (patient, number), row in table.items():
        rows.setdefault(patient, {})[number] = row
    collection = Collection(root)
    demographics = next((p for p in root.glob("*atient_demographics.csv")), root / "Patient_demographics.csv")
    listed = {key: row for key, row in table.items() if key[0] not in WITHOUT_SCAN}
    add_patients(collection, demographics, listed, WITHOUT_SCAN)
    files = pair_folders(collection, scans, masks)
    pairs = [Pair(name, _patient(name), image, label) for name, image, label in files]
    absent = set(rows) - {pair.patient for pair in pairs} - WITHOUT_SCAN
    if absent:
        collection.find("missing", f"scans of patients {ranges(map(int, absent), 3)}")
    twins = Twins()
    for pair in tqdm(pairs, desc="check volumes", unit="case", disable=not options.progress):
        if collection.skips(options, pair.case, pair.patient):
            continue
        with collection.checking():
            found = read_pair(collection, pair, options, twins)
            values = np.unique(found.values).tolist()
            if not set(values) <= {0, 1}:
                raise InputError(f"{pair.label}: expected mask values 0 and 1 or 0 and 255, found {values}")
            mask = found.values > 0
            axis = slice_axis(found.affine)
            classes = by_type(collection, pair.patient, mask, axis, rows.get(pair.patient, {}))
            count = mask.shape[axis]
            slices = _types(
                rows.get(pair.patient, {}), np.atleast_1d(np.moveaxis(mask, axis, 0).any((1, 2))), count
            )
            item = entry(pair)
            item["label"] = write_mask(options.masks / "labels", pair, mask, found.affine)
            item["classes"] = write_mask(options.masks / "classes", pair, classes, found.affine)
            item["classes_complete"] = not bool((classes == UNKNOWN_VALUE).any())
            collection.records.append(with_counts(item, slices, classes, found.voxel_ml, typed=True))
    return collection


def by_type(
    collection: Collection, patient: str, mask: np.ndarray, axis: int, rows: dict[int, SliceRow]
) -> np.ndarray:
    """Class map of a mask (X, Y, Z): the type of its slice, 255 where that is not one type alone."""
    planes = np.moveaxis(mask, axis, 0)
    classes = np.zeros(planes.shape, np.uint8)
    numbers = range(1, len(planes) + 1)
    bleeding = {k for k in numbers if planes[k - 1].any()}
    for k in bleeding:
        types = rows[k].types if k in rows else ()
        classes[k - 1][planes[k - 1]] = CLASS_VALUES[types[0]] if len(types) == 1 else UNKNOWN_VALUE
    said = {k for k, row in rows.items() if row.types}
    findings = {
        "missing": {
            "table rows of slices": set(numbers) - set(rows),
            "slices of the table": set(rows) - set(numbers),
        },
        "contradiction": {
            "a mask, but no hemorrhage in the table, on slices": (bleeding & set(rows)) - said,
            "hemorrhage in the table, but no mask, on slices": said & set(numbers) - bleeding,
            "types and none in the table, on slices": {k for k, row in rows.items() if row.contradictory},
        },
    }
    for kind, sentences in findings.items():
        for what, where in sentences.items():
            if where:
                collection.find(kind, f"patient {patient}: {what} {ranges(where)}")
    return np.moveaxis(classes, 0, axis)


def _types(rows: dict[int, SliceRow], bleeding: np.ndarray, count: int) -> list[tuple[str, ...] | None]:
    """Types of each slice: what the table says of those with a mask."""
    slices: list[tuple[str, ...] | None] = []
    for k in range(1, count + 1):
        types = rows[k].types if k in rows else ()
        slices.append((types or None) if bleeding[k - 1] else ())
    return slices


def _patient(name: str) -> str:
    if not name.isdigit():
        raise InputError(f"{name}: expected files named by patient number, as 049.nii, found this name")
    return f"{int(name):03d}"
