"""INSTANCE 2022 (Li 2023): ROOT/data/001.nii.gz with ROOT/label/001.nii.gz, masks 0/1, a patient per file."""

from __future__ import annotations

from pathlib import Path

from headct.datasets.collection import Collection, Options, need_folder, ranges
from headct.datasets.layouts.pairing import pair_folders
from headct.datasets.layouts.volumes import Pair, read_pairs

CASES = 100  # of the training set; its 30 + 70 others come without masks


def read(root: Path, options: Options) -> Collection:
    """Check the training set below `root`.

    Raises:
        InputError: no such folders, or no pairs in them.
    """
    images, labels = need_folder(root / "data", "CT volumes"), need_folder(root / "label", "masks")
    collection = Collection(root)
    pairs = [
        Pair(name, name, image, label) for name, image, label in pair_folders(collection, images, labels)
    ]
    numbers = {int(pair.case) for pair in pairs if pair.case.isdigit()}
    absent = set(range(1, CASES + 1)) - numbers
    if absent:
        collection.find("missing", f"cases {ranges(absent, 3)} of the {CASES} of the training set")
    collection.records = read_pairs(collection, pairs, options)
    return collection
