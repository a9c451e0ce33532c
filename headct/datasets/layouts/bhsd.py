"""BHSD (Wu 2023): 192 volumes with masks of five types; slices of the RSNA 2019 set, put together again.

    ROOT/images/ID_<patient>_ID_<study>.nii.gz, ROOT/ground truths/ (the same names)

ROOT may also be the folder above `label_192`, and have the folders imagesTr and labelsTr instead.
"""

from __future__ import annotations

import re
from pathlib import Path

from headct.datasets.collection import Collection, Options
from headct.datasets.layouts.folder import find_folders
from headct.datasets.layouts.pairing import pair_folders
from headct.datasets.layouts.volumes import MULTI_CLASS, Pair, read_pairs

CASES = 192


def read(root: Path, options: Options) -> Collection:
    """Check the volumes below `root`, and write a binary label of `options.types` (default: all) for each.

    Raises:
        InputError: no such folders, or no pairs in them.
    """
    inner = root / "label_192" if (root / "label_192").is_dir() else root
    images, labels = find_folders(inner, (("images", "ground truths"), ("imagesTr", "labelsTr")))
    collection = Collection(root)
    files = pair_folders(collection, images, labels)
    pairs = [Pair(name, patient_of(name), image, label) for name, image, label in files]
    if len(pairs) < CASES:
        collection.find("missing", f"{CASES - len(pairs)} of the {CASES} volumes with masks")
    collection.records = read_pairs(collection, pairs, options, MULTI_CLASS)
    return collection


def patient_of(name: str) -> str:
    """Patient of a file: the first of its two RSNA identifiers, so that two studies of one stay together."""
    match = re.match(r"(ID_[0-9a-fA-F]+)_ID_", name)
    return match[1] if match else name
