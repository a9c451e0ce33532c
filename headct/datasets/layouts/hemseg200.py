"""HemSeg-200 (Song 2024): 222 scans of the RSNA 2019 set with masks of IPH and IVH.

    ROOT/labels/<scan>.nii.gz (or label/, IPH_IVH_label/; train/label, val/label, test/label)
    ROOT/images/<scan>.nii.gz (or image/ ...)          converted by the authors' script, or
    ROOT/annotion_file_info.jsonl and ROOT/stage_2_train/ID_<slice>.dcm          slices of RSNA's competition

The jsonl names the slices and the patient of each scan. Masks of 0 and 1 tell no types; 2 is taken for IVH
and 1 for IPH where both occur, unless `options.labels` says otherwise.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from headct.datasets.collection import Collection, Options
from headct.datasets.layouts.dicom import converted, study_of
from headct.datasets.layouts.volumes import BINARY, Pair, mask_classes, read_pairs
from tools.core.errors import InputError
from tools.core.names import case_name, is_volume

CASES = 222
TABLE = "annotion_file_info.jsonl"  # as its authors spell it
LABELS = ("labels", "label", "IPH_IVH_label", "masks")
IMAGES = ("images", "image", "nifti")
PARTS = ("", "train", "val", "test")


def read(root: Path, options: Options) -> Collection:
    """Check the scans below `root`; those that are still DICOM are converted to NIfTI beside the datalist.

    Raises:
        InputError: no masks; neither volumes nor slices to them; a table that is none.
    """
    collection = Collection(root)
    labels = _files(root, LABELS)
    if not labels:
        raise InputError(f"{root}: expected masks as labels/<scan>.nii.gz, found none")
    images, table = _files(root, IMAGES), _table(root / TABLE)
    pairs = []
    for case, label in labels.items():
        row = table.get(case, {})
        image = images.get(case)
        if image is None and row:
            with collection.checking():
                image = _from_slices(collection, root, case, row, options)
        if image is not None:
            pairs.append(Pair(case, str(row.get("patient") or case), image, label))
        elif not row:
            collection.find("missing", f"image of {case}")
    if not pairs:
        collection.stop_on_errors()
        raise InputError(f"{root}: expected images/<scan>.nii.gz, or {TABLE} and RSNA's slices, found none")
    if len(labels) < CASES:
        collection.find("missing", f"{CASES - len(labels)} of the {CASES} scans")
    if not table:
        collection.find("note", f"no {TABLE}, which names the patients: every scan counts as one")
    classes = mask_classes(collection, [pair.label for pair in pairs], options)
    if classes != BINARY and not options.labels:
        collection.findings = [found for found in collection.findings if "no file says" not in found[1]]
        named = replace(options, labels={"1": "iph", "2": "ivh"})
        classes = mask_classes(collection, [], named)
    collection.records = read_pairs(collection, pairs, options, classes)
    return collection


def _files(root: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """NIfTI files by scan, of the first of the folders that a part has."""
    found: dict[str, Path] = {}
    for part in PARTS:
        for folder in (root / part / name for name in names):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if is_volume(path):
                    if case_name(path) in found:
                        raise InputError(
                            f"{path}: expected each scan once, found {found[case_name(path)]} as well"
                        )
                    found[case_name(path)] = path
    return found


def _table(path: Path) -> dict[str, dict[str, Any]]:
    """Rows of the jsonl by scan."""
    if not path.is_file():
        return {}
    rows: dict[str, dict[str, Any]] = {}
    for line, text in enumerate(path.read_text("utf-8-sig").splitlines(), 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
            rows[str(row.get("scan_") or row["scan"])] = {**row, "slice_list": list(row["slice_list"])}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}, line {line}: expected scan_, patient and slice_list, found: {error!r}"
            ) from error
    return rows


def _from_slices(
    collection: Collection, root: Path, case: str, row: dict[str, Any], options: Options
) -> Path | None:
    """The volume of a scan's slices, converted."""
    names = [f"{name if str(name).startswith('ID_') else f'ID_{name}'}.dcm" for name in row["slice_list"]]
    folder = next(
        (root / name for name in ("stage_2_train", "dicom", "") if (root / name / names[0]).is_file()), None
    )
    if folder is None:
        collection.find("missing", f"slices of {case}, such as {names[0]}")
        return None
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        collection.find("missing", f"{len(absent)} of {len(names)} slices of {case}, such as {absent[0]}")
        return None
    return converted(collection, study_of(folder, [folder / name for name in names]), case, options)
