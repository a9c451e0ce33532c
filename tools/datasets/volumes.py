"""NIfTI pairs of CT volume and mask -> checked records, with the masks that training needs."""

from __future__ import annotations

import hashlib
from collections.abc import Collection as Values
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from tqdm import tqdm

from tools.datalist import check_pairs
from tools.datasets.collection import (
    CLASS_VALUES,
    TYPES,
    UNKNOWN_VALUE,
    Collection,
    Options,
    Record,
    SliceTypes,
    join_types,
)
from tools.errors import InputError
from tools.files import nifti_bytes, write_bytes
from tools.volume_io import is_nifti, read_volume

BINARY = (0, 1)
MULTI_CLASS = (0, *CLASS_VALUES.values())


@dataclass
class Pair:
    """A CT volume, its mask, and what else its entry in the datalist holds."""

    case: str
    patient: str
    image: Path
    label: Path
    extra: dict[str, Any] = field(default_factory=dict)


def pair_files(
    collection: Collection, images: Path, labels: Path, endings: Sequence[str] = ("",)
) -> list[tuple[str, Path, Path]]:
    """(case, image, label) of the NIfTI files in two folders that have the same name.

    Args:
        collection: is told of files without partner.
        images, labels: the folders.
        endings: what may follow the case's name in the name of its image, such as nnU-Net's "_0000".

    Raises:
        InputError: no pairs, or two files of one case.
    """
    found = [_by_name(folder, ends) for folder, ends in ((images, endings), (labels, ("",)))]
    names = sorted(set(found[0]) & set(found[1]))
    for folder, here, there in ((images, *found), (labels, *reversed(found))):
        alone = sorted(set(here) - set(there))
        if alone:
            collection.find("missing", f"partners of {len(alone)} files of {folder.name}: {', '.join(alone)}")
    if not names:
        raise InputError(
            f"{collection.root}: expected NIfTI files of the same names in {images.name} and {labels.name}, "
            "found none"
        )
    return [(name, found[0][name], found[1][name]) for name in names]


def read_pairs(
    collection: Collection,
    pairs: Iterable[Pair],
    options: Options,
    values: Values[int] = BINARY,
    twins: Twins | None = None,
) -> list[Record]:
    """Check every pair, and return its record.

    A label of 0 and 1 is used as it is. One with several classes becomes the entry's `classes`, and a label
    with `options.types` alone (default: all) is written to `options.masks`.

    Args:
        collection: collects the cases that cannot be used.
        pairs: the cases.
        options: what to leave out, where to write.
        values: values that a mask may hold: `BINARY` or `MULTI_CLASS`.
        twins: knows the volumes seen so far, where several calls read one set.
    """
    multi = set(values) != set(BINARY)
    if options.types and not multi:
        raise InputError(
            f"types: expected a data set whose masks tell types, found binary masks in {collection.root}"
        )
    records: list[Record] = []
    twins = twins or Twins()
    for pair in tqdm(list(pairs), desc="check volumes", unit="case", disable=not options.progress):
        if collection.skips(options, pair.case, pair.patient):
            continue
        with collection.checking():
            mask, voxel_ml = read_pair(pair, twins)
            found = set(np.unique(mask).tolist())
            if not found <= set(values):
                raise InputError(
                    f"{pair.label}: expected mask values {sorted(values)}, found {sorted(found)}"
                )
            item = entry(pair)
            if multi:
                item["classes"] = item["label"]
                chosen = [CLASS_VALUES[kind] for kind in options.types or TYPES]
                item["label"] = write_mask(options.masks / "labels", pair, np.isin(mask, chosen))
            axis = slice_axis(pair.label)
            slices = types_on_slices(mask, axis) if multi else unknown_types(mask, axis)
            records.append(with_counts(item, slices, mask, voxel_ml, typed=multi))
    return records


def read_pair(pair: Pair, twins: Twins) -> tuple[np.ndarray, float]:
    """Check image and mask; return the mask (X, Y, Z) in the order of its file, rounded, and mL per voxel.

    Raises:
        InputError: a missing or damaged file, a volume that is no HU, a mask on another grid.
    """
    for path in (pair.image, pair.label):
        if not path.is_file():
            raise InputError(f"{path}: expected a NIfTI file, found no such file")
    twins.check(pair, read_volume(pair.image, orientation=None).numpy())
    check_pairs([{"image": str(pair.image), "label": str(pair.label)}], label_values=None)
    header = nib.load(pair.label)
    try:
        raw = np.asarray(header.dataobj, dtype=np.float32)
    except Exception as error:  # nibabel, gzip and zlib each raise their own on damaged files
        raise InputError(f"{pair.label}: expected a complete NIfTI file, found: {error}") from error
    mask = np.rint(raw)  # scaled masks miss their whole number by a little
    if not np.isfinite(raw).all() or (np.abs(raw - mask) > 0.01).any() or mask.min() < 0 or mask.max() > 255:
        raise InputError(
            f"{pair.label}: expected whole class values from 0 to 255, found values from {raw.min():g} to "
            f"{raw.max():g}"
        )
    return mask.astype(np.uint8), abs(float(np.linalg.det(header.affine[:3, :3]))) / 1000.0


def mask_values(labels: Sequence[Path], progress: bool) -> set[int]:
    """Values that occur in masks, to tell binary ones from those with types; unreadable ones are left to
    `read_pairs`."""
    found: set[int] = set()
    for path in tqdm(labels, desc="look at masks", unit="case", disable=not progress):
        try:
            found |= set(np.unique(np.rint(np.asarray(nib.load(path).dataobj))).astype(int).tolist())
        except Exception:  # it is read once more, and reported, with its case
            continue
    return found


class Twins:
    """Finds volumes that occur under two names, which would put one patient into two folds."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def check(self, pair: Pair, voxels: np.ndarray) -> None:
        """Remember the voxels of a case; raise `InputError` if another case has the same."""
        digest = hashlib.sha256(repr(voxels.shape).encode() + voxels.tobytes()).hexdigest()
        twin = self._seen.setdefault(digest, pair.case)
        if twin != pair.case:
            raise InputError(
                f"{pair.image}: expected a volume of its own, found the voxels of case {twin} again"
            )


def slice_axis(path: Path) -> int:
    """Axis of the file that runs from feet to head."""
    return int(np.flatnonzero(nib.io_orientation(nib.load(path).affine)[:, 0] == 2)[0])


def types_on_slices(classes: np.ndarray, axis: int) -> list[SliceTypes]:
    """Types on each slice of a class map; None where some of it is of unknown type."""
    planes = np.moveaxis(classes, axis, 0).reshape(classes.shape[axis], -1)
    there = {kind: (planes == value).any(1) for kind, value in CLASS_VALUES.items()}
    unknown = (planes == UNKNOWN_VALUE).any(1)
    return [
        None if unknown[k] else tuple(kind for kind in TYPES if there[kind][k]) for k in range(len(planes))
    ]


def unknown_types(mask: np.ndarray, axis: int) -> list[SliceTypes]:
    """The same for a mask that tells no types."""
    planes = np.moveaxis(mask, axis, 0).reshape(mask.shape[axis], -1)
    return [None if bleeding else () for bleeding in planes.any(1)]


def entry(pair: Pair) -> dict[str, Any]:
    """Entry of the datalist."""
    paths = {"image": str(pair.image), "label": str(pair.label)}
    return {**paths, "case": pair.case, "patient": pair.patient, **pair.extra}


def with_counts(
    item: dict[str, Any],
    slices: list[SliceTypes],
    classes: np.ndarray,
    voxel_ml: float,
    typed: bool,
) -> Record:
    """Record with the volumes in its entry; with those of each type where the mask tells them (`typed`)."""
    total = float((classes > 0).sum()) * voxel_ml
    record = Record(item, slices, total)
    item["volume_ml"] = {"any": round(total, 4)}
    if typed:
        for kind, value in CLASS_VALUES.items():
            item["volume_ml"][kind] = round(float((classes == value).sum()) * voxel_ml, 4)
        item["volume_ml"]["unknown"] = round(float((classes == UNKNOWN_VALUE).sum()) * voxel_ml, 4)
        item["types"] = join_types(record.types)
        item["ivh"] = "ivh" in record.types
    return record


def write_mask(folder: Path, pair: Pair, mask: np.ndarray) -> str:
    """Write a mask on the grid of the case's own mask; returns its path."""
    path = folder / f"{pair.case}.nii.gz"
    write_bytes(path, nifti_bytes(mask.astype(np.uint8), nib.load(pair.label).affine))
    return str(path)


def volume_slices(record: Record) -> list[Record]:
    """A volume's record -> one record per slice, for 2D networks; `slice` counts from 1 as in the file."""
    count = max(1, record.bleeding)
    records = []
    for number, types in enumerate(record.slices, 1):
        item = {key: value for key, value in record.item.items() if key not in ("volume_ml", "types", "ivh")}
        bleeding = types is None or bool(types)
        item |= {"case": f"{record.item['case']}_{number:03d}", "slice": number, "hemorrhage": bleeding}
        if "types" in record.item:
            item["types"] = join_types(types or ())
        # A volume's mL shared out evenly: the report sums them up again.
        records.append(Record(item, [types], record.ml / count if bleeding else 0.0))
    return records


def _by_name(folder: Path, endings: Sequence[str]) -> dict[str, Path]:
    """NIfTI files of a folder by case."""
    files: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if is_nifti(path) and not path.name.startswith(".")):
        name = path.name.removesuffix(".gz").removesuffix(".nii")
        for ending in endings:
            name = name.removesuffix(ending)
        if name in files:
            raise InputError(f"{path}: expected one file of case {name}, found {files[name].name} as well")
        files[name] = path
    return files
