"""A datalist -> raw data of nnU-Net v2, with the same cases, masks and folds, to train it beside a bundle."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from headct.datasets.collection import Collection
from headct.datasets.layouts.volumes import file_name
from headct.datasets.masks import read_mask
from tools.core.classes import CLASS_VALUES, UNKNOWN_VALUE
from tools.core.errors import InputError
from tools.core.files import nifti_bytes, replacing, write_bytes
from tools.core.names import is_nifti
from tools.data.datalist import check_pairs
from tools.data.entries import Item, checked_entry, name_cases, read_datalist

ENDING = ".nii.gz"
IGNORE = len(CLASS_VALUES) + 1  # nnU-Net's label whose voxels teach nothing: hemorrhage of unknown type


def export_nnunet(
    datalist: str | Path, out: str | Path, number: int = 501, name: str = "Hemorrhage", types: bool = False
) -> Path:
    """Write `out`/DatasetNNN_NAME: dataset.json, imagesTr, labelsTr, imagesTs, labelsTs, splits_final.json.

    Args:
        datalist: of NIfTI volumes with labels, such as `prepare` writes.
        out: the folder that nnU-Net calls nnUNet_raw.
        number: of the data set, 1 to 999.
        name: of the data set: letters, digits, `_` and `-`.
        types: labels of the five types, from the entries' `classes`, instead of hemorrhage alone. Hemorrhage
            of unknown type is nnU-Net's `ignore`.

    Returns:
        the data set's folder. splits_final.json belongs to nnUNet_preprocessed/DatasetNNN_NAME once nnU-Net
        has made that folder; it is written where all cases have a fold.

    Raises:
        InputError: entries that are no NIfTI volumes or have no label; two cases of one file name; a number
            or name that nnU-Net does not take; a folder that is there already.
    """
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 999:
        raise InputError(f"number: expected 1 to 999, found {number!r}")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise InputError(f"name: expected letters, digits, _ and -, found {name!r}")
    path = Path(datalist)
    parts = _cases(path, types)
    folder = Path(out) / f"Dataset{number:03d}_{name}"
    if folder.exists():
        raise InputError(f"{folder}: expected a new folder, found one that is there already")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for part, (images, labels) in zip(
        parts, (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs")), strict=True
    ):
        for item in part:
            case = file_name(item["case"])
            _copy(Path(item["image"]), partial / images / f"{case}_0000{ENDING}")
            _label(item, partial / labels / f"{case}{ENDING}", types)
    training = parts[0]
    kinds = {"hemorrhage": 1} if not types else {**CLASS_VALUES, "ignore": IGNORE}
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **kinds},
        "numTraining": len(training),
        "file_ending": ENDING,
        "name": folder.name,
    }
    _json(partial / "dataset.json", content)
    if all("fold" in item for item in training):
        folds = sorted({item["fold"] for item in training})
        names = [(file_name(item["case"]), item["fold"]) for item in training]
        splits = [
            {
                "train": [case for case, own in names if own != fold],
                "val": [case for case, own in names if own == fold],
            }
            for fold in folds
        ]
        _json(partial / "splits_final.json", splits)
    partial.rename(folder)
    return folder


def _cases(path: Path, types: bool) -> list[list[Item]]:
    """Entries of training and testing that can be exported."""
    content = read_datalist(path)
    need = ("image", "label", "classes") if types else ("image", "label")
    parts = []
    for part in ("training", "testing"):
        items = content.get(part) or []
        if not isinstance(items, list):
            raise InputError(f"{path}: expected `{part}` to be a list of dictionaries, one per case")
        parts.append([checked_entry(path, part, k, item, need) for k, item in enumerate(items)])
    every = [item for part in parts for item in part]
    if not parts[0]:
        raise InputError(f"{path}: expected cases under `training`, found none")
    name_cases(path, every)
    for item in every:
        if item.get("slice") is not None or not is_nifti(item["image"]) or not is_nifti(item["label"]):
            raise InputError(
                f"{path}: expected NIfTI volumes, found {item['image']}, a slice or another format"
            )
    names = [file_name(item["case"]) for item in every]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: expected cases with file names of their own, found {twice[0]} twice")
    check_pairs(every, label_values=None if types else (0, 1))
    return parts


def _copy(image: Path, target: Path) -> None:
    """The image as it is; an uncompressed one is compressed."""
    with replacing(target) as partial:
        if image.name.lower().endswith(".gz"):
            shutil.copyfile(image, partial)
            return
        with image.open("rb") as source, gzip.GzipFile(partial, "wb", 3, mtime=0) as packed:
            shutil.copyfileobj(source, packed)


def _label(item: Item, target: Path, types: bool) -> None:
    """The mask on the grid of its image, with values from 0 on without gaps, as nnU-Net wants them."""
    identity = {value: value for value in (0, *CLASS_VALUES.values(), UNKNOWN_VALUE)}
    source = Path(item["classes" if types else "label"])
    mask = read_mask(
        Collection(source.parent), source, Path(item["image"]), classes=identity if types else None
    )
    values = np.where(mask.values == UNKNOWN_VALUE, IGNORE, mask.values) if types else mask.values > 0
    header: Any = nib.load(item["image"])
    write_bytes(target, nifti_bytes(values.astype(np.uint8), header.affine))


def _json(path: Path, content: dict[str, Any] | Sequence[Any]) -> None:
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())
