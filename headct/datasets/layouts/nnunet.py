"""Raw data of nnU-Net v2: dataset.json with `channel_names`, `labels` and `file_ending`, and its folders.

    ROOT/dataset.json
    ROOT/imagesTr/case_0000.nii.gz, ROOT/labelsTr/case.nii.gz
    ROOT/imagesTs/other_0000.nii.gz, ROOT/labelsTs/other.nii.gz   (if there are any)
    ROOT/splits_final.json                                        (nnU-Net keeps it with preprocessed data)

Instead of the folders, `dataset` in dataset.json may name the files of each case. Cases are named as nnU-Net
names them. Folds are those of splits_final.json, if one is there, unless --folds asks for others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headct.datasets.collection import Collection, Options, need_folder
from headct.datasets.layouts.folder import patient_from
from headct.datasets.layouts.volumes import Pair, Twins, mask_classes, read_pairs
from tools.core.errors import InputError
from tools.core.files import absolute
from tools.core.names import is_nifti
from tools.data.entries import read_datalist
from tools.data.labels import listed_names

SPLITS_FILE = "splits_final.json"


def read(root: Path, options: Options) -> Collection:
    """Check the cases below `root`.

    Raises:
        InputError: no dataset.json, or one that is not nnU-Net's; another format than NIfTI; several channels
            of which none or more than one is the CT; `labels` that are not known; a broken splits_final.json.
    """
    path = root / "dataset.json"
    content = read_datalist(path)
    missing = [key for key in ("channel_names", "labels", "file_ending") if key not in content]
    if missing:
        hint = "; `modality` is nnU-Net v1's" if "modality" in content else ""
        raise InputError(f"{path}: expected the key `{missing[0]}` of nnU-Net v2, found none{hint}")
    ending = content["file_ending"]
    if not isinstance(ending, str) or not is_nifti(f"a{ending}"):
        raise InputError(f"{path}: expected the `file_ending` .nii.gz or .nii, found {ending!r}")
    channel = _ct_channel(path, content["channel_names"])
    collection = Collection(root)
    if isinstance(content.get("dataset"), dict):
        training = _listed(path, content["dataset"], channel)
    else:
        need_folder(root / "imagesTr", "images (nnU-Net)")
        training = _found(collection, root / "imagesTr", root / "labelsTr", channel, ending)
    testing = _found(collection, root / "imagesTs", root / "labelsTs", channel, ending)
    if not training:
        raise InputError(f"{root}: expected cases as imagesTr/CASE_{channel:04d}{ending}, found none")
    if set(training) & set(testing):
        raise InputError(f"{root}: expected each case once, found {min(set(training) & set(testing))} again")
    folds = _folds(root / SPLITS_FILE, training)
    parts = []
    for files in (training, testing):
        part = []
        for case, (image, label) in files.items():
            extra = {"fold": folds[case]} if case in folds and files is training else {}
            part.append(Pair(case, patient_from(options, case), image, label, extra))
        parts.append(part)
    labels = [pair.label for part in parts for pair in part]
    classes = mask_classes(collection, labels, options, listed_names(content["labels"], path), path)
    twins = Twins()
    collection.records = read_pairs(collection, parts[0], options, classes, twins)
    collection.testing = read_pairs(collection, parts[1], options, classes, twins)
    return collection


def _ct_channel(path: Path, names: Any) -> int:
    """Number of the CT among the channels."""
    if not isinstance(names, dict) or not names or not all(str(key).isdecimal() for key in names):
        raise InputError(f'{path}: expected `channel_names` as {{"0": "CT"}}, found {names!r}')
    if len(names) == 1:
        return int(next(iter(names)))
    found = [int(key) for key, name in names.items() if str(name).lower() == "ct"]
    if len(found) != 1:
        raise InputError(
            f"{path}: expected one channel called CT, found {', '.join(map(str, names.values()))}"
        )
    return found[0]


def _listed(path: Path, cases: dict[str, Any], channel: int) -> dict[str, tuple[Path, Path]]:
    """Files that `dataset` names for each case."""
    found = {}
    for case, entry in cases.items():
        row: dict[str, Any] = entry if isinstance(entry, dict) else {}
        images, label = row.get("images"), row.get("label")
        image = images[channel] if isinstance(images, list) and len(images) > channel else None
        if not isinstance(image, str) or not isinstance(label, str):
            raise InputError(
                f"{path}: expected `images` (of each channel) and `label` of {case}, found {entry!r}"
            )
        found[case] = (absolute(path.parent / image), absolute(path.parent / label))
    return found


def _found(
    collection: Collection, images: Path, labels: Path, channel: int, ending: str
) -> dict[str, tuple[Path, Path]]:
    """Images of one channel that have a label, by case; what has none is noted."""
    if not images.is_dir():
        return {}
    tail = f"_{channel:04d}{ending}"
    by_case = {path.name.removesuffix(tail): path for path in sorted(images.glob(f"[!.]*{tail}"))}
    pairs = {case: (image, labels / f"{case}{ending}") for case, image in by_case.items()}
    alone = [case for case, (_, label) in pairs.items() if not label.is_file()]
    if images.name == "imagesTr":
        without = {path.name.removesuffix(ending) for path in labels.glob(f"[!.]*{ending}")} - set(pairs)
        for what, cases in (("labels of", alone), ("images of", sorted(without))):
            if cases:
                collection.find("missing", f"{what} {', '.join(cases)}")
    else:
        collection.unlabelled += [str(by_case[case]) for case in alone]
    return {case: files for case, files in pairs.items() if case not in alone}


def _folds(path: Path, cases: dict[str, Any]) -> dict[str, int]:
    """Fold of each case: the one whose `val` it is in."""
    if not path.is_file():
        return {}
    try:
        splits = json.loads(path.read_text("utf-8-sig"))
        held_out = [(case, number) for number, split in enumerate(splits) for case in split["val"]]
        folds = dict(held_out)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(
            f'{path}: expected a list of {{"train": [...], "val": [...]}}, found: {error!r}'
        ) from error
    if len(folds) != len(held_out) or set(folds) != set(cases):
        odd = sorted(set(folds) ^ set(cases)) or sorted(case for case, _ in held_out)
        raise InputError(
            f"{path}: expected each training case in the `val` of one fold, found {odd[0]} in none or two"
        )
    return folds
