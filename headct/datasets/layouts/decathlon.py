"""A datalist as MONAI reads it (Medical Segmentation Decathlon): ROOT/dataset.json, or ROOT is the file.

    {"training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}],
     "test": ["imagesTs/b.nii.gz"]}

`test` or `testing` may hold names alone, or entries as `training` does; those with a label are kept for
testing. Further keys of an entry are kept (`fold`, `patient` ...), but none whose name would trip MONAI.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from headct.datasets.collection import Collection, Options
from headct.datasets.layouts.folder import patient_from
from headct.datasets.layouts.volumes import Pair, Twins, mask_classes, read_pairs
from tools.core.errors import InputError
from tools.core.names import case_name
from tools.data.entries import checked_entry, name_cases, read_datalist
from tools.data.labels import listed_names

RESERVED = ("image_", "label_")  # `Spacingd` takes such keys for image metadata
OWN = ("image", "label", "classes", "case", "patient", "types", "ivh", "volume_ml")


def read(root: Path, options: Options) -> Collection:
    """Check the entries of a datalist.

    Raises:
        InputError: no datalist, an entry without image or label, a case that occurs twice.
    """
    path = root / "dataset.json" if root.is_dir() else root
    content = read_datalist(path)
    if not isinstance(content.get("training"), list):
        raise InputError(
            f"{path}: expected a JSON object with the list `training`, found {', '.join(sorted(content))}"
        )
    collection = Collection(path.parent)
    entries = [
        checked_entry(path, "training", number, entry, ("image", "label"))
        for number, entry in enumerate(content["training"])
    ]
    held_out = []
    tests = "testing" if content.get("testing") else "test"
    for key, value in content.items():
        cases = isinstance(value, list) and value and isinstance(value[0], dict)
        if cases and key not in ("training", tests):
            sentence = f"list `{key}` of {len(value)}: only training and {tests} are taken"
            collection.find("unexpected", sentence)
    for number, entry in enumerate(content.get(tests) or []):
        item = checked_entry(path, "testing", number, {"image": entry} if isinstance(entry, str) else entry)
        if "label" in item:
            held_out.append(item)
        elif Path(item["image"]).is_file():
            collection.unlabelled.append(item["image"])
        else:
            collection.find("missing", os.path.relpath(item["image"], path.parent))
    for item in entries + held_out:
        if item.get("case") is None and case_name(item["image"]).endswith("_0000"):
            item["case"] = case_name(item["image"]).removesuffix("_0000")
    name_cases(path, [*entries, *held_out])
    training, testing = ([_pair(collection, item, options) for item in part] for part in (entries, held_out))
    labels = [pair.label for pair in training + testing]
    classes = mask_classes(collection, labels, options, listed_names(content.get("labels"), path), path)
    twins = Twins()
    collection.records = read_pairs(collection, training, options, classes, twins)
    collection.testing = read_pairs(collection, testing, options, classes, twins)
    return collection


def _pair(collection: Collection, item: dict[str, Any], options: Options) -> Pair:
    patient = item.get("patient") or patient_from(options, item["case"])
    for key in item:
        if key.startswith(RESERVED):
            collection.find("left out", f"key {key} of {item['case']}")
    keep = {key: value for key, value in item.items() if key not in OWN and not key.startswith(RESERVED)}
    return Pair(item["case"], patient, Path(item["image"]), Path(item["label"]), keep)
