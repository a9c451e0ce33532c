"""NIfTI pairs of CT volume and mask -> checked records, with the masks that training needs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from tqdm import tqdm

from headct.datasets.class_values import class_values
from headct.datasets.collection import Collection, Options, Record, SliceTypes, join_types
from headct.datasets.masks import Mask, read_mask, read_values
from tools.core.classes import CLASS_VALUES, TYPES, UNKNOWN_VALUE
from tools.core.errors import InputError
from tools.core.files import nifti_bytes, write_bytes
from tools.core.names import slice_name
from tools.volumes.doubts import form_doubts, in_slices, level_doubts
from tools.volumes.read import read_volume

#: Our class values by those of the masks: where they tell hemorrhage alone, and where they tell types.
BINARY = {0: 0, 1: UNKNOWN_VALUE}
MULTI_CLASS = {0: 0, **{value: value for value in CLASS_VALUES.values()}, UNKNOWN_VALUE: UNKNOWN_VALUE}


@dataclass
class Pair:
    """A CT volume, its mask, and what else its entry in the datalist holds."""

    case: str
    patient: str
    image: Path
    label: Path
    extra: dict[str, Any] = field(default_factory=dict)


def read_pairs(
    collection: Collection,
    pairs: Iterable[Pair],
    options: Options,
    classes: Mapping[int, int] = BINARY,
    twins: Twins | None = None,
    mask_of: Callable[[Pair], Mask] | None = None,
) -> list[Record]:
    """Check every pair, and return its record.

    A label of 0 and 1 on the grid of its image is used as it is; any other that can be one is written so to
    `options.masks`. Where the masks tell types, an entry's `classes` holds them, and its label has
    `options.types` alone (default: all).

    Args:
        collection: collects the cases that cannot be used.
        pairs: the cases.
        options: what to leave out, where to write, what to do about masks on other grids.
        classes: our class value of each value that a mask may hold: `BINARY`, `MULTI_CLASS`, or what
            `mask_classes` finds.
        twins: knows the volumes seen so far, where several calls read one set.
        mask_of: gives a case's mask in our class values, where it is not just the file `Pair.label`.
    """
    typed = any(value in CLASS_VALUES.values() for value in classes.values())
    if options.types and not typed:
        raise InputError(
            f"types: expected a data set whose masks tell types, found binary masks in {collection.root}"
        )
    records: list[Record] = []
    twins = twins or Twins()
    for pair in tqdm(list(pairs), desc="check volumes", unit="case", disable=not options.progress):
        if collection.skips(options, pair.case, pair.patient):
            continue
        with collection.checking():
            if mask_of:
                check_image(collection, pair, twins)
                mask = mask_of(pair)
            else:
                mask = read_pair(collection, pair, options, twins, classes)
            item = entry(pair)
            label = mask.values > 0
            if typed:
                item["classes"] = item["label"]
                if not mask.is_file(mask.values):
                    item["classes"] = write_mask(options.masks / "classes", pair, mask.values, mask.affine)
                label = np.isin(mask.values, [CLASS_VALUES[kind] for kind in options.types or TYPES])
                if not options.types:
                    label |= mask.values == UNKNOWN_VALUE
            if typed or not mask.is_file(label):
                item["label"] = write_mask(options.masks / "labels", pair, label, mask.affine)
            axis = slice_axis(mask.affine)
            slices = (types_on_slices if typed else unknown_types)(mask.values, axis)
            records.append(with_counts(item, slices, mask.values, mask.voxel_ml, typed))
    return records


def read_pair(
    collection: Collection,
    pair: Pair,
    options: Options,
    twins: Twins,
    classes: Mapping[int, int] | None = None,
) -> Mask:
    """Check the image, and read its mask in our class values and in the voxel order of the image.

    Raises:
        InputError: a missing or damaged file, a volume that is no HU, a mask on another grid.
    """
    check_image(collection, pair, twins)
    return read_mask(collection, pair.label, pair.image, options.on_mismatch, classes)


def check_image(collection: Collection, pair: Pair, twins: Twins) -> None:
    """Raise `InputError` for an image that is missing or damaged, in no HU, or another's; note doubts."""
    if not pair.image.is_file():
        raise InputError(f"{pair.image}: expected a NIfTI file, found no such file")
    volume = read_volume(pair.image, orientation=None)
    twins.check(pair, volume.numpy())
    for text in form_doubts(pair.image) + level_doubts(*in_slices(volume)):
        collection.find("unexpected", f"{pair.case}: {text}")


def mask_classes(
    collection: Collection,
    labels: Sequence[Path],
    options: Options,
    names: Mapping[int, str] | None = None,
    source: Path | None = None,
) -> Mapping[int, int]:
    """Our class value of each value of a set's masks.

    Args:
        collection: is told what was taken for what.
        labels: the masks; they are read where neither `names` nor `options.labels` says what they hold.
        options: what the user says of the values.
        names: of the values, from the file `source`.
        source: a dataset.json; default: the set's folder.

    Raises:
        InputError: see `headct.datasets.class_values`.
    """
    source = source or collection.root
    if names or options.labels:
        classes = {0: 0, **class_values(names or {}, source, options.labels)}
        if classes != BINARY:
            said = ", ".join(f"{value} {called(classes[value])}" for value in sorted(classes) if value)
            collection.find("note", f"mask values by name: {said}")
        return classes
    found: set[int] = set()
    for path in tqdm(labels, desc="look at masks", unit="case", disable=not options.progress):
        try:
            found |= set(np.unique(read_values(path)[0]).astype(int).tolist())
        except InputError:  # it is read once more, and reported, with its case
            continue
    if found <= set(BINARY):
        return BINARY
    said = ", ".join(f"{value} {kind.upper()}" for kind, value in CLASS_VALUES.items())
    collection.find("note", f"masks hold more than 0 and 1, and no file says what: taken for {said}")
    return MULTI_CLASS


def called(value: int) -> str:
    """Name of one of our class values."""
    names = {0: "background", UNKNOWN_VALUE: "hemorrhage", **{v: kind for kind, v in CLASS_VALUES.items()}}
    return names[value]


class Twins:
    """Finds volumes that occur under two names, which would put one patient into two folds."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}
        self._files: dict[str, str] = {}

    def check(self, pair: Pair, voxels: np.ndarray) -> None:
        """Remember a case; raise `InputError` if another has its voxels, or the file name of its mask."""
        name = self._files.setdefault(file_name(pair.case).lower(), pair.case)
        if name != pair.case:
            raise InputError(f"{pair.image}: expected a name of its own, found {pair.case} beside {name}")
        digest = hashlib.sha256(repr(voxels.shape).encode() + voxels.tobytes()).hexdigest()
        twin = self._seen.setdefault(digest, pair.case)
        if twin != pair.case:
            raise InputError(
                f"{pair.image}: expected a volume of its own, found the voxels of case {twin} again"
            )


def slice_axis(affine: np.ndarray) -> int:
    """Axis of the voxels that runs from feet to head."""
    return int(np.flatnonzero(nib.io_orientation(affine)[:, 0] == 2)[0])


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
    return [None if bleeding else () for bleeding in np.atleast_1d(planes.any(1))]


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


def write_mask(folder: Path, pair: Pair, mask: np.ndarray, affine: np.ndarray) -> str:
    """Write a mask on the grid of the case's image; returns its path."""
    path = folder / f"{file_name(pair.case)}.nii.gz"
    write_bytes(path, nifti_bytes(mask.astype(np.uint8), affine))
    return str(path)


def file_name(case: str) -> str:
    """A case's name as a file name: the folders that some have become part of it."""
    return case.replace("/", "_").replace("\\", "_")


def volume_slices(record: Record) -> list[Record]:
    """A volume's record -> one record per slice, for 2D networks; `slice` counts from 1 as in the file."""
    count = max(1, record.bleeding)
    records = []
    for number, types in enumerate(record.slices, 1):
        item = {key: value for key, value in record.item.items() if key not in ("volume_ml", "types", "ivh")}
        bleeding = types is None or bool(types)
        item |= {"case": slice_name(record.item["case"], number), "slice": number, "hemorrhage": bleeding}
        if "types" in record.item:
            item["types"] = join_types(types or ())
        # A volume's mL shared out evenly: the report sums them up again.
        records.append(Record(item, [types], record.ml / count if bleeding else 0.0))
    return records
