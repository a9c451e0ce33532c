"""A plain folder of images and masks, paired by their names.

ROOT/images and ROOT/labels, or other usual names of the two; a.nii.gz beside a_mask.nii.gz; or a folder for
each case. NIfTI volumes with masks of 0 and 1 (or 255), or of class values; or 8-bit pictures with masks in
white, for which the display window must be stated.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from headct.datasets.collection import Collection, Options, Record
from headct.datasets.layouts.pairing import Paired, find_pairs
from headct.datasets.layouts.volumes import Pair, file_name, mask_classes, read_pairs
from tools.core.errors import InputError
from tools.core.files import write_bytes
from tools.core.names import is_picture, is_volume
from tools.slices.read import MASK_THRESHOLD, read_grey

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


def read(root: Path, options: Options) -> Collection:
    """Check the pairs below `root`.

    Raises:
        InputError: no such folders or no pairs in them; pictures without a stated window; names that
            `options.patient_from` does not fit.
    """
    collection = Collection(root)
    files = find_pairs(collection, FOLDERS, (is_volume, is_picture), options.masks)
    if is_volume(files[0][1]):
        pairs = [Pair(name, patient_from(options, name), image, label) for name, image, label in files]
        classes = mask_classes(collection, [pair.label for pair in pairs], options)
        collection.records = read_pairs(collection, pairs, options, classes)
    else:
        _read_pictures(collection, files, options)
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
        if match and match.groups() and match[1]:
            return match[1]
    except re.error as error:
        raise InputError(f"patient_from: expected a regular expression, found: {error}") from error
    raise InputError(
        f"{name}: expected a name whose patient the first group of {options.patient_from!r} finds, found none"
    )


def _read_pictures(collection: Collection, files: Paired, options: Options) -> None:
    """Pairs of 8-bit pictures."""
    root = collection.root
    if options.types or options.labels:
        raise InputError(f"types: expected a data set whose masks tell types, found pictures in {root}")
    if options.window is None:
        raise InputError(
            f"{root}: expected the display window of the pictures (window=LEVEL,WIDTH in HU), found none"
        )
    collection.volume_note = "no mL: pictures tell no size"
    for name, image_file, mask_file in tqdm(
        files, "check slices", unit="slice", disable=not options.progress
    ):
        patient = patient_from(options, name)
        if collection.skips(options, name, patient):
            continue
        with collection.checking():
            image, mask = read_grey(image_file), read_grey(mask_file)
            if image.shape != mask.shape:
                raise InputError(
                    f"{mask_file}: expected the size {image.shape} of {image_file.name}, found {mask.shape}"
                )
            label = str(mask_file)
            if mask.max() == 1 and mask_file.suffix.lower() == ".png":  # JPEG has noise of 1
                mask = mask * np.uint8(255)
                label = str(write_bytes(options.masks / "labels" / f"{file_name(name)}.png", _png(mask)))
            if 0 < mask.max() < MASK_THRESHOLD:
                raise InputError(
                    f"{mask_file}: expected a mask in white (255) on black, found values up to {mask.max()}"
                )
            pixels = int((mask >= MASK_THRESHOLD).sum())
            item = {
                "image": str(image_file),
                "label": label,
                "case": name,
                "patient": patient,
                "hemorrhage": pixels > 0,
                "lesion_px": pixels,
                "windowed": list(options.window),
                "border": 0,
            }
            collection.records.append(Record(item, [None if pixels else ()]))


def _png(mask: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return buffer.getvalue()
