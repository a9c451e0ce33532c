"""CT-ICH 1.0.0 to 1.2.0 (Hssayeni 2020): 8-bit JPEG slices in the brain window, and two tables.

ROOT/Patients_CT/049/brain/1.jpg          650 x 650, level 40, width 120
ROOT/Patients_CT/049/brain/1_HGE_Seg.jpg  white on black; only of slices with hemorrhage
ROOT/Patients_CT/049/bone/1.jpg           bone window
ROOT/hemorrhage_diagnosis.csv, ROOT/patient_demographics.csv
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from headct.datasets.collection import Collection, Options, Record, join_types, need_folder, ranges
from headct.datasets.layouts.ct_ich_tables import SliceRow, read_patient_table, read_slice_table
from tools.core.errors import InputError
from tools.core.files import write_bytes
from tools.core.names import slice_name
from tools.core.windows import CT_ICH_WINDOW
from tools.slices.read import (
    CT_ICH_BORDER,
    CT_ICH_PIXEL_MM,
    CT_ICH_SIZE,
    CT_ICH_SLICE_MM,
    MASK_THRESHOLD,
    read_grey,
)

MASK_ENDING = "_HGE_Seg"
PIXEL_ML = CT_ICH_PIXEL_MM**2 * CT_ICH_SLICE_MM / 1000
DARK = 16  # grey; the border shows nothing but JPEG noise
UNSURE = 0.2  # share of a mask's pixels that may be neither white nor black

Slice = tuple[str, int]


def read(root: Path, options: Options) -> Collection:
    """Check the tree below `root`.

    Every slice of the table that has an image becomes a record. A slice without hemorrhage has no mask file;
    its label is one black picture that all of them share, in `options.masks`.

    Raises:
        InputError: no tree, or tables that cannot be read.
    """
    scans = need_folder(root / "Patients_CT", "patients' slices (CT-ICH 1.0.0)")
    table = read_slice_table(root / "hemorrhage_diagnosis.csv")
    collection = Collection(root)
    collection.volume_note = (
        f"mL by the stated {CT_ICH_PIXEL_MM} mm pixels and {CT_ICH_SLICE_MM:g} mm slices; the pictures "
        "themselves tell no size"
    )
    add_patients(collection, root / "patient_demographics.csv", table)
    files = _find_files(collection, scans)
    _report_gaps(collection, table, files, scans)
    empty = options.masks / "no_hemorrhage.png"
    twins: dict[str, Slice] = {}
    usable = sorted(set(table) & set(files["brain"]))
    with_bone = all(key in files["bone"] for key in usable)
    for key in tqdm(usable, desc="check slices", unit="slice", disable=not options.progress):
        patient, number = key
        case = slice_name(patient, number)
        if collection.skips(options, case, patient):
            continue
        row, mask = table[key], files["mask"].get(key)
        conflict = _conflict(row, mask)
        if conflict:
            collection.find("contradiction", f"{conflict}: patient {patient} slice {number} is left out")
            continue
        with collection.checking():
            _check_picture(collection, files["brain"][key], key, twins)
            pixels = _check_mask(collection, mask, key) if mask else 0
            item = {
                "image": str(files["brain"][key]),
                "label": str(mask or empty),
                "case": case,
                "patient": patient,
                "slice": number,
                "types": join_types(row.types),
                "hemorrhage": bool(row.types),
                "fracture": row.fracture,
                "lesion_px": pixels,
                "windowed": list(CT_ICH_WINDOW),
                "border": CT_ICH_BORDER,
            }
            if with_bone:
                item["bone"] = str(files["bone"][key])
                _check_size(files["bone"][key], read_grey(files["bone"][key]))
            collection.records.append(Record(item, [row.types], pixels * PIXEL_ML))
    if not with_bone:
        collection.find("missing", "bone window of some slices; entries come without the key `bone`")
    if any(not record.item["hemorrhage"] for record in collection.records):
        write_bytes(empty, _black())
    return collection


def _conflict(row: SliceRow, mask: Path | None) -> str:
    """How table and tree contradict each other on a slice; "" if they agree."""
    if row.contradictory:
        return "the table says both hemorrhage and none, or neither"
    if row.types and mask is None:
        return "hemorrhage in the table, but no mask"
    if mask is not None and not row.types:
        return "a mask, but no hemorrhage in the table"
    return ""


def add_patients(
    collection: Collection,
    path: Path,
    table: dict[Slice, SliceRow],
    without: frozenset[str] = frozenset(),
) -> None:
    """Read the demographics, and compare them with the table of slices, but for the patients in `without`."""
    rows = {name: row for name, row in read_patient_table(path).items() if name not in without}
    patients = {patient for patient, _ in table}
    for missing, where in ((patients - set(rows), "patients"), (set(rows) - patients, "slices")):
        if missing:
            collection.find(
                "missing", f"rows of patients {ranges(map(int, missing), 3)} in the table of {where}"
            )
    for patient, row in rows.items():
        seen = {kind for key, slice_row in table.items() if key[0] == patient for kind in slice_row.types}
        if patient in patients and seen != set(row.types):
            collection.find(
                "contradiction",
                f"patient {patient}: types {sorted(row.types)} in the table of patients, {sorted(seen)} in "
                "that of slices, which is taken",
            )
        if row.age is None or not row.sex:
            collection.find("missing", f"age or sex of patient {patient}")
        collection.patients[patient] = {"age": row.age, "sex": row.sex, "fracture": row.fracture}


def _find_files(collection: Collection, scans: Path) -> dict[str, dict[Slice, Path]]:
    """Files by kind and (patient, slice); whatever else lies there is reported."""
    files: dict[str, dict[Slice, Path]] = {"brain": {}, "mask": {}, "bone": {}}
    for path in sorted(scans.rglob("*")):
        if path.is_dir() or path.name.startswith("."):
            continue
        parts = path.relative_to(scans).parts
        name = re.fullmatch(rf"0*(\d+)({MASK_ENDING})?\.jpe?g", path.name, flags=re.IGNORECASE)
        window = parts[1].lower() if len(parts) == 3 else ""
        fits = parts[0].isdigit() and window in ("brain", "bone")
        if not name or not fits or (name[2] and window == "bone"):
            collection.find("unexpected", str(path.relative_to(scans.parent)))
            continue
        key = (f"{int(parts[0]):03d}", int(name[1]))
        kind = "mask" if name[2] else window
        if key in files[kind]:
            raise InputError(
                f"{path}: expected one {kind} file of patient {key[0]} slice {key[1]}, found "
                f"{files[kind][key].name} as well"
            )
        files[kind][key] = path
    if not files["brain"]:
        raise InputError(f"{scans}: expected slices as <patient>/brain/<slice>.jpg, found none")
    return files


def _report_gaps(
    collection: Collection, table: dict[Slice, SliceRow], files: dict[str, dict[Slice, Path]], scans: Path
) -> None:
    """Name what the table lists and the tree lacks, and the other way round."""
    there = {patient for patient, _ in files["brain"]}
    absent = {patient for patient, _ in table} - there
    if absent:
        collection.find("missing", f"slices of patients {ranges(map(int, absent), 3)} in {scans.name}")
    for patient in sorted(there):
        listed = {number for name, number in table if name == patient}
        images = {number for name, number in files["brain"] if name == patient}
        masks = {number for name, number in files["mask"] if name == patient}
        gaps = {
            "brain window of slices": listed - images,
            "table rows of slices": images - listed,
            "brain window of masks": masks - images,
        }
        for what, numbers in gaps.items():
            if numbers:
                collection.find("missing", f"patient {patient}: {what} {ranges(numbers)}")


def _check_picture(collection: Collection, path: Path, key: Slice, twins: dict[str, Slice]) -> None:
    """Check size and border of a slice, and that no other slice is the same picture."""
    grey = read_grey(path)
    _check_size(path, grey)
    edge = np.concatenate([part.ravel() for part in (grey[:5], grey[-5:], grey[:, :5], grey[:, -5:])])
    if np.percentile(edge, 99) > DARK:
        collection.find("note", f"patient {key[0]} slice {key[1]}: the border that is removed is not black")
    if grey.max() <= DARK:
        collection.find("note", f"patient {key[0]} slice {key[1]}: the picture is black")
        return
    twin = twins.setdefault(hashlib.sha256(grey.tobytes()).hexdigest(), key)
    if twin != key:
        raise InputError(
            f"{path}: expected a picture of its own, found that of patient {twin[0]} slice {twin[1]} again"
        )


def _check_mask(collection: Collection, path: Path, key: Slice) -> int:
    """Check a mask; returns its white pixels inside the border."""
    grey = read_grey(path)
    _check_size(path, grey)
    inner = grey[CT_ICH_BORDER:-CT_ICH_BORDER, CT_ICH_BORDER:-CT_ICH_BORDER]
    pixels = int((inner >= MASK_THRESHOLD).sum())
    unsure = int(((grey > 64) & (grey < 192)).sum())
    if pixels == 0:
        raise InputError(f"{path}: expected a hemorrhage in white, found no pixel from {MASK_THRESHOLD}")
    if unsure > UNSURE * pixels + 20:
        collection.find(
            "note", f"patient {key[0]} slice {key[1]}: {unsure} pixels of the mask are grey, {pixels} white"
        )
    return pixels


def _check_size(path: Path, grey: np.ndarray) -> None:
    if grey.shape != (CT_ICH_SIZE, CT_ICH_SIZE):
        raise InputError(f"{path}: expected {CT_ICH_SIZE} x {CT_ICH_SIZE} pixels, found {grey.shape[::-1]}")


def _black() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (CT_ICH_SIZE, CT_ICH_SIZE)).save(buffer, format="PNG")
    return buffer.getvalue()
