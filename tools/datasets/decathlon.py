"""A datalist as MONAI reads it (Medical Segmentation Decathlon): ROOT/dataset.json, or ROOT is the file.

    {"training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}],
     "test": ["imagesTs/b.nii.gz"]}

`test` or `testing` may hold names alone, or entries as `training` does; those with a label are kept for
testing. Further keys of an entry are kept (`fold`, `patient` ...), but none whose name would trip MONAI.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tools.datasets.collection import Collection, Options
from tools.datasets.folder import patient_from
from tools.datasets.volumes import BINARY, MULTI_CLASS, Pair, Twins, mask_values, read_pairs
from tools.errors import InputError

RESERVED = ("image_", "label_")  # `Spacingd` takes such keys for image metadata
OWN = ("image", "label", "classes", "case", "patient", "types", "ivh", "volume_ml")


def read(root: Path, options: Options) -> Collection:
    """Check the entries of a datalist.

    Raises:
        InputError: no datalist, an entry without image or label, a case that occurs twice.
    """
    path = root / "dataset.json" if root.is_dir() else root
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: expected a datalist (JSON), found no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a datalist (JSON), found: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("training"), list):
        found = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{path}: expected a JSON object with the list `training`, found {found}")
    collection = Collection(path.parent)
    training = [_pair(collection, path, entry, options) for entry in content["training"]]
    testing: list[Pair] = []
    for entry in content.get("testing") or content.get("test") or []:
        if isinstance(entry, dict) and "label" in entry:
            testing.append(_pair(collection, path, entry, options))
            continue
        image = path.parent / (entry["image"] if isinstance(entry, dict) and "image" in entry else str(entry))
        if image.is_file():
            collection.unlabelled.append(str(image))
        else:
            collection.find("missing", os.path.relpath(image, path.parent))
    cases: set[str] = set()
    images: set[Path] = set()
    for pair in training + testing:
        if pair.case in cases or pair.image.resolve() in images:
            raise InputError(f"{path}: expected each case once, found {pair.case} ({pair.image.name}) again")
        cases.add(pair.case)
        images.add(pair.image.resolve())
    found = mask_values([pair.label for pair in training + testing], options.progress)
    values = BINARY if found <= set(BINARY) else MULTI_CLASS
    twins = Twins()
    collection.records = read_pairs(collection, training, options, values, twins)
    collection.testing = read_pairs(collection, testing, options, values, twins)
    return collection


def _pair(collection: Collection, path: Path, entry: Any, options: Options) -> Pair:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("image", "label")):
        raise InputError(f"{path}: expected entries with `image` and `label`, found {entry!r}")
    image, label = path.parent / entry["image"], path.parent / entry["label"]
    name = image.name.removesuffix(".gz").removesuffix(".nii").removesuffix("_0000")
    case = str(entry.get("case", name))
    patient = str(entry.get("patient") or patient_from(options, name))
    for key in entry:
        if key.startswith(RESERVED):
            collection.find("left out", f"key {key} of {case}")
    keep = {key: value for key, value in entry.items() if key not in OWN and not key.startswith(RESERVED)}
    for key, value in keep.items():  # other files of the case
        if isinstance(value, str) and (path.parent / value).is_file():
            keep[key] = str(path.parent / value)
    return Pair(case, patient, image, label, keep)
