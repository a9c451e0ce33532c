"""Which mask belongs to which image, by their names: in two folders, beside each other, a folder per case."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from headct.datasets.collection import Collection
from tools.core.errors import InputError
from tools.core.names import case_name, is_volume, unpacked

Paired = list[tuple[str, Path, Path]]
"""(case, image, mask)."""

_WORDS = "hge_seg|ground_?truth|segmentation|labelmap|labels|label|masks|mask|seg|gt|roi|lesion|annotation"
MASK = re.compile(rf"(?:(?P<first>.+)[-_. ](?:{_WORDS})|(?:{_WORDS})(?:[-_. ](?P<last>.+))?)", re.IGNORECASE)
IMAGE = re.compile(r"(?:(?P<first>.+)[-_. ](?:0000|ct|image|img|scan|volume))", re.IGNORECASE)


def find_pairs(
    collection: Collection,
    folders: Sequence[tuple[str, str]],
    kinds: Sequence[Callable[[Path], bool]],
    made: Path | None = None,
) -> Paired:
    """Pairs below `collection.root`: in two folders, else beside each other, else in a folder for each case.

    Args:
        collection: is told of files without partner, and of those that lie elsewhere.
        folders: names of the folders of images and masks, the usual ones first.
        kinds: tell the files that count; the first kind of which there are any is taken.
        made: folder of masks that were written before, and may lie below the root.

    Raises:
        InputError: no pairs; a case with two images or masks; two cases that would be called the same.
    """
    root = collection.root
    if not root.is_dir():
        raise InputError(f"{root}: expected a folder of images and masks, found no such folder")
    two = next(
        ((root / i, root / m) for i, m in folders if (root / i).is_dir() and (root / m).is_dir()), None
    )
    if two:
        for kind in kinds:
            images, masks = (_files(folder, kind) for folder in two)
            if images:
                say_rest(collection, kind, [*images, *masks], made)
                return pair(collection, images, masks)
        raise InputError(f"{root}: expected NIfTI files or pictures in pairs, found none in {two[0].name}")
    for kind in kinds:
        files = _files(root, kind)
        if any(MASK.fullmatch(case_name(file)) for file in files):
            say_rest(collection, kind, files, made)
            return pair(collection, *_sides(files))
    places = _folders(root)
    found = [one for place in places for one in _folder(collection, place, kinds)]
    images_by_case: dict[str, Path] = {}
    for case, image, _ in found:
        other = images_by_case.setdefault(case, image)
        if other != image:
            raise InputError(f"{image}: expected a case of its own, found {other}, also called {case}")
    if found:
        kind = next(kind for kind in kinds if kind(found[0][1]))
        say_rest(collection, kind, [file for place in places for file in _files(place, kind)], made)
        return found
    wanted = ", or ".join(f"{images}/ and {masks}/" for images, masks in folders)
    there = ", ".join(path.name for path in _folders(root)[:10]) or "no folder"
    raise InputError(
        f"{root}: expected the folders {wanted}, or masks beside their images (a.nii.gz, a_mask.nii.gz), "
        f"found {there}, and {len(_files(root, lambda path: True))} files"
    )


def pair_folders(collection: Collection, images: Path, masks: Path) -> Paired:
    """`pair` of the NIfTI files in two folders."""
    return pair(collection, _files(images, is_volume), _files(masks, is_volume))


def pair(collection: Collection, images: Iterable[Path], masks: Iterable[Path]) -> Paired:
    """Pairs of images and masks of one name, or of one without `_mask`, `_seg` ... and `_0000`, `_ct` ...

    Raises:
        InputError: no pairs; a case with two images or masks.
    """
    by_name = {"image": _by_name(images), "mask": _by_name(masks)}
    shorter: dict[str, str] = {}
    for name in by_name["image"]:
        match = IMAGE.fullmatch(name)
        if match:
            shorter.setdefault(match["first"], name)
    pairs: dict[str, tuple[str, Path, Path]] = {}
    alone = []
    for name, mask in by_name["mask"].items():
        match = MASK.fullmatch(name)
        bare = (match["first"] or match["last"] or "") if match else name
        options = [(case, case) for case in (name, bare)] + [
            (case, shorter.get(case, "")) for case in (name, bare)
        ]
        case, image = next(((c, i) for c, i in options if i in by_name["image"]), ("", ""))
        if not image:
            alone.append(name)
        elif image in pairs:
            one = by_name["image"][image].name
            raise InputError(f"{mask}: expected one mask of {one}, found {pairs[image][2].name} as well")
        else:
            pairs[image] = (case, by_name["image"][image], mask)
    for what, names in (("images", sorted(set(by_name["image"]) - set(pairs))), ("masks", sorted(alone))):
        if names:
            collection.find("missing", f"partners of {len(names)} {what}: {', '.join(names)}")
    if not pairs:
        raise InputError(f"{collection.root}: expected images and masks of the same names, found no pair")
    return [pairs[name] for name in sorted(pairs)]


def say_rest(
    collection: Collection, kind: Callable[[Path], bool], seen: Sequence[Path], made: Path | None
) -> None:
    """Files of a kind that lie elsewhere below the root, such as in deeper folders."""
    rest = set(filter(kind, collection.root.rglob("*"))) - set(seen)
    names = (path.relative_to(collection.root) for path in rest if not (made and path.is_relative_to(made)))
    shown = sorted(name.as_posix() for name in names if not any(part[0] == "." for part in name.parts))
    shown = [name for name in shown if (collection.root / name).is_file()]
    if shown:
        collection.find("unexpected", f"files elsewhere than the pairs: {len(shown)}, as {shown[0]}")


def _folder(collection: Collection, folder: Path, kinds: Sequence[Callable[[Path], bool]]) -> Paired:
    """The pairs in one case's folder, named after it: an image and a mask, or several that have names."""
    for kind in kinds:
        images, masks = _sides(_files(folder, kind))
        if len(images) == len(masks) == 1:
            return [(folder.name, images[0], masks[0])]
        if masks and images:
            return [(f"{folder.name}_{case}", i, m) for case, i, m in pair(collection, images, masks)]
        if images or masks:
            collection.find("missing", f"partners of the files in {folder.name}")
            return []
    return []


def _sides(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Images and masks among files that lie beside each other."""
    masks = [file for file in files if MASK.fullmatch(case_name(file))]
    return [file for file in files if file not in masks], masks


def _by_name(files: Iterable[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        name = case_name(file)
        if name in found:
            raise InputError(f"{file}: expected one file of case {name}, found {found[name].name} as well")
        found[name] = file
    return found


def _files(folder: Path, kind: Callable[[Path], bool]) -> list[Path]:
    files = (unpacked(path) for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in files if kind(path) and not path.is_dir())


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
