"""A plain folder of images and masks: ROOT/images and ROOT/labels, or other usual names of the two.

NIfTI volumes with masks of 0 and 1, or of the class values 1-5; or 8-bit pictures with masks in white, for
which the display window must be stated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from tools.datasets.collection import Collection, Options, Record
from tools.datasets.volumes import BINARY, MULTI_CLASS, Pair, mask_values, pair_files, read_pairs
from tools.errors import InputError
from tools.pictures import MASK_THRESHOLD, PICTURES, read_grey
from tools.volume_io import is_nifti

FOLDERS = (
    ("images", "labels"),
    ("images", "masks"),
    ("image", "label"),
    ("image", "mask"),
    ("imagesTr", "labelsTr"),
    ("data", "label"),
    ("images", "ground truths"),
    ("ct_scans", "masks"),
)
MASK_ENDINGS = ("_seg", "_mask", "_label", "_HGE_Seg")


def read(root: Path, options: Options) -> Collection:
    """Check the pairs below `root`.

    Raises:
        InputError: no such folders or no pairs in them; pictures without a stated window; names that
            `options.patient_from` does not fit.
    """
    images, labels = find_folders(root, FOLDERS)
    collection = Collection(root)
    if any(is_nifti(path) for path in images.iterdir()):
        files = pair_files(collection, images, labels, endings=("", "_0000"))
        pairs = [Pair(name, patient_from(options, name), *paths) for name, *paths in files]
        found = mask_values([pair.label for pair in pairs], options.progress)
        values = BINARY if found <= set(BINARY) else MULTI_CLASS
        collection.records = read_pairs(collection, pairs, options, values)
    else:
        _read_pictures(collection, images, labels, options)
    if options.patient_from is None:
        collection.find("note", "file names tell no patients (patient_from=REGEX): every file counts as one")
    return collection


def find_folders(root: Path, names: Sequence[tuple[str, str]]) -> tuple[Path, Path]:
    """The first pair of folders that exists below `root`.

    Raises:
        InputError: none does.
    """
    for images, labels in names:
        if (root / images).is_dir() and (root / labels).is_dir():
            return root / images, root / labels
    wanted = ", or ".join(f"{images}/ and {labels}/" for images, labels in names)
    found = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    raise InputError(f"{root}: expected the folders {wanted}, found {', '.join(found) or 'no folder'}")


def patient_from(options: Options, name: str) -> str:
    """Patient of a file by its name: the first group of the pattern, the whole name without pattern."""
    if options.patient_from is None:
        return name
    try:
        match = re.search(options.patient_from, name)
        if match and match.groups():
            return match[1]
    except re.error as error:
        raise InputError(f"patient_from: expected a regular expression, found: {error}") from error
    raise InputError(
        f"{name}: expected a name whose patient the first group of {options.patient_from!r} finds, found none"
    )


def _read_pictures(collection: Collection, images: Path, labels: Path, options: Options) -> None:
    """Pairs of 8-bit pictures."""
    if options.types:
        raise InputError(f"types: expected a data set whose masks tell types, found pictures in {images}")
    if options.window is None:
        raise InputError(
            f"{images}: expected the display window of the pictures (window=LEVEL,WIDTH in HU), found none"
        )
    found = [_pictures(images, ()), _pictures(labels, MASK_ENDINGS)]
    for folder, here, there in ((images, *found), (labels, *reversed(found))):
        alone = sorted(set(here) - set(there))
        if alone:
            collection.find("missing", f"partners of {len(alone)} files of {folder.name}: {', '.join(alone)}")
    names = sorted(set(found[0]) & set(found[1]))
    if not names:
        raise InputError(f"{collection.root}: expected NIfTI files or pictures in pairs, found none")
    collection.volume_note = "no mL: pictures tell no size"
    for name in tqdm(names, desc="check slices", unit="slice", disable=not options.progress):
        patient = patient_from(options, name)
        if collection.skips(options, name, patient):
            continue
        with collection.checking():
            image, mask = read_grey(found[0][name]), read_grey(found[1][name])
            if image.shape != mask.shape:
                raise InputError(
                    f"{found[1][name]}: expected the size {image.shape} of {found[0][name].name}, "
                    f"found {mask.shape}"
                )
            if 0 < mask.max() < MASK_THRESHOLD:
                raise InputError(
                    f"{found[1][name]}: expected a mask in white (255) on black, "
                    f"found values up to {mask.max()}"
                )
            pixels = int((mask >= MASK_THRESHOLD).sum())
            item = {
                "image": str(found[0][name]),
                "label": str(found[1][name]),
                "case": name,
                "patient": patient,
                "hemorrhage": pixels > 0,
                "lesion_px": pixels,
                "windowed": list(options.window),
                "border": 0,
            }
            collection.records.append(Record(item, [None if pixels else ()]))


def _pictures(folder: Path, endings: Sequence[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES):
        name = next((path.stem.removesuffix(end) for end in endings if path.stem.endswith(end)), path.stem)
        if name in files:
            raise InputError(f"{path}: expected one file of {name}, found {files[name].name} as well")
        files[name] = path
    return files
