"""Hemorica (Davoodi 2025): 372 CTs with masks of five types, EPH, SDH, SAH, IPH and IVH, as NIfTI.

The paper describes the masks, not their tree. Read are

    ROOT/CASE/image.nii.gz with ROOT/CASE/EPH.nii.gz, SDH.nii.gz ...       a mask of each type
    ROOT/images/CASE.nii.gz with ROOT/masks/EPH/CASE.nii.gz ...            a folder of each type
    whatever `folder` reads                                                one mask for each scan

In the last, values other than 0 and 1 need `options.labels`: the paper does not number the types.
"""

from __future__ import annotations

from pathlib import Path

from headct.datasets.collection import Collection, Options
from headct.datasets.layouts.folder import FOLDERS, patient_from
from headct.datasets.layouts.pairing import find_pairs, say_rest
from headct.datasets.layouts.volumes import BINARY, MULTI_CLASS, Pair, mask_classes, read_pairs
from headct.datasets.masks import Mask, merged, read_mask
from tools.core.classes import CLASS_VALUES
from tools.core.errors import InputError
from tools.core.names import case_name, is_volume
from tools.data.labels import class_value

CASES = 372


def read(root: Path, options: Options) -> Collection:
    """Check the scans below `root`.

    Raises:
        InputError: none of the trees above; values whose types nobody says.
    """
    collection = Collection(root)
    found = _by_type(root)
    if found:
        taken = [file for image, masks in found.values() for file in (image, *(path for _, path in masks))]
        say_rest(collection, is_volume, taken, options.masks)
        pairs = [
            Pair(case, patient_from(options, case), image, masks[0][1])
            for case, (image, masks) in sorted(found.items())
        ]

        def mask_of(pair: Pair) -> Mask:
            masks = found[pair.case][1]
            parts = [
                read_mask(collection, path, pair.image, options.on_mismatch, {0: 0, 1: value})
                for value, path in masks
            ]
            return merged(parts, [path for _, path in masks])

        collection.records = read_pairs(collection, pairs, options, MULTI_CLASS, mask_of=mask_of)
    else:
        files = find_pairs(collection, FOLDERS, (is_volume,), options.masks)
        pairs = [Pair(name, patient_from(options, name), image, label) for name, image, label in files]
        classes = mask_classes(collection, [pair.label for pair in pairs], options)
        if classes == MULTI_CLASS and not options.labels:
            raise InputError(
                f"{root}: expected masks of 0 and 1, or one for each type, found more values, which the "
                "paper of the set does not number (--labels 1=edh,2=... says what they are)"
            )
        collection.records = read_pairs(collection, pairs, options, classes or BINARY)
    if len(pairs) < CASES:
        collection.find("missing", f"{CASES - len(pairs)} of the {CASES} scans")
    return collection


def _by_type(root: Path) -> dict[str, tuple[Path, list[tuple[int, Path]]]]:
    """Image and (class value, mask) of each type by case, where each type has a mask of its own."""
    found: dict[str, tuple[Path, list[tuple[int, Path]]]] = {}
    if not root.is_dir():
        raise InputError(f"{root}: expected the folder of Hemorica, found no such folder")
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        files = [path for path in sorted(folder.iterdir()) if is_volume(path)]
        masks = [(value, path) for path in files if (value := _type_of(case_name(path), folder.name))]
        images = [path for path in files if path not in [mask for _, mask in masks]]
        if masks and len(images) == 1:
            found[folder.name] = (images[0], masks)
    for images_name, masks_name in FOLDERS:
        by_type = [
            (value, folder)
            for folder in sorted((root / masks_name).glob("*"))
            if folder.is_dir() and (value := _type_of(folder.name, ""))
        ]
        if not by_type or not (root / images_name).is_dir():
            continue
        for image in sorted(path for path in (root / images_name).iterdir() if is_volume(path)):
            masks = [
                (value, path)
                for value, folder in by_type
                for path in sorted(folder.iterdir())
                if is_volume(path) and case_name(path) == case_name(image)
            ]
            if masks:
                found[case_name(image)] = (image, masks)
        break
    return found


def _type_of(name: str, case: str) -> int:
    """Class value of the type that a file's name says, 0 for none; the case's own name is no part of it."""
    value = class_value(name.replace(case, "", 1) if case else name)
    return value if value is not None and value in CLASS_VALUES.values() else 0
