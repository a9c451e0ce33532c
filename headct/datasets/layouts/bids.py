"""BIDS derivatives: `*_ct.nii.gz` with `*_mask.nii.gz` or `*_dseg.nii.gz`, anywhere below ROOT.

    ROOT/sub-01/ses-1/ct/sub-01_ses-1_ct.nii.gz
    ROOT/derivatives/manual/sub-01/ses-1/ct/sub-01_ses-1_label-IPH_mask.nii.gz

A mask belongs to the CT of its subject and session with which it shares every other entity that both have.
`label-` or, without it, `desc-` says what it shows: a mask of the brain is none of hemorrhage. Several masks
of one CT, each of a type, become one with types.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

from headct.datasets.class_values import class_values
from headct.datasets.collection import Collection, Options
from headct.datasets.layouts.volumes import BINARY, MULTI_CLASS, Pair, called, read_pairs
from headct.datasets.masks import Mask, merged, read_mask
from tools.core.classes import UNKNOWN_VALUE
from tools.core.errors import InputError
from tools.core.names import case_name, is_volume
from tools.data.labels import class_value

OF_MASKS = ("label", "desc", "space", "res", "den", "seg", "hemi")
NO_BLOOD = ("brain", "head", "skull", "gm", "wm", "csf", "ventricles", "ventricle")

Entities = dict[str, str]


def read(root: Path, options: Options) -> Collection:
    """Check the CTs below `root` that have a mask.

    Raises:
        InputError: no CT or no mask; a mask without CT or with several; a mask that says nothing known; two
            masks of one thing, of which `options.rater` chooses none.
    """
    collection = Collection(root)
    files = [path for path in sorted(root.rglob("sub-*")) if path.is_file() and is_volume(path)]
    scans = {path: entities(path) for path in files if case_name(path).endswith("_ct")}
    masks = {path: entities(path) for path in files if case_name(path).endswith(("_mask", "_dseg"))}
    if not scans or not masks:
        lacks = "sub-*_ct.nii.gz" if not scans else "sub-*_mask.nii.gz or sub-*_dseg.nii.gz"
        raise InputError(f"{root}: expected {lacks} (BIDS), found none")
    names = {_name(own).lower() for own in masks.values()}
    for key in options.labels:
        if key.lower() not in names and all(own["suffix"] == "mask" for own in masks.values()):
            raise InputError(f"labels: expected masks of {root}, {', '.join(sorted(names))}, found {key!r}")
    found: dict[Path, list[tuple[Path, Mapping[int, int]]]] = {}
    for path, own in masks.items():
        meaning = _meaning(collection, path, own, options)
        if meaning is not None:
            found.setdefault(_scan_of(path, own, scans), []).append((path, meaning))
    raw = [scan for scan in scans if scan not in found and "derivatives" not in scan.relative_to(root).parts]
    if raw:
        collection.find("missing", f"masks of {', '.join(case_name(scan) for scan in raw)}")
    if not found:
        raise InputError(f"{root}: expected masks of hemorrhage, found none among {len(masks)}")
    pairs = []
    for scan in sorted(found):
        case = case_name(scan).removesuffix("_ct")
        pairs.append(Pair(case, f"sub-{scans[scan]['sub']}", scan, found[scan][0][0]))
    meanings = [meaning for group in found.values() for _, meaning in group]
    typed = any(0 < value < UNKNOWN_VALUE for meaning in meanings for value in meaning.values())

    def mask_of(pair: Pair) -> Mask:
        group = found[pair.image]
        parts = [read_mask(collection, path, pair.image, options.on_mismatch, m) for path, m in group]
        return merged(parts, [path for path, _ in group])

    collection.records = read_pairs(
        collection, pairs, options, MULTI_CLASS if typed else BINARY, mask_of=mask_of
    )
    return collection


def entities(path: Path) -> Entities:
    """Entities of a file's name: {"sub": "01", "ses": "1", "suffix": "ct"}."""
    *parts, suffix = case_name(path).split("_")
    found = dict(part.partition("-")[::2] for part in parts)
    return {**found, "suffix": suffix}


def _meaning(collection: Collection, path: Path, own: Entities, options: Options) -> Mapping[int, int] | None:
    """Our class values by those of a mask; None for a mask of something else, or of another rater."""
    if own["suffix"] == "dseg":
        return {0: 0, **class_values(_table(path), path, options.labels)}
    name = _name(own)
    if options.rater and own.get("desc") is not None and own["desc"] != options.rater:
        return None
    if options.rater and name == options.rater:
        name = "hemorrhage"
    said = {key.lower(): value for key, value in options.labels.items()}.get(name.lower(), name)
    value = 0 if said.lower() in NO_BLOOD else class_value(said)
    if value is None:
        raise InputError(
            f"{path}: expected a mask whose `label-` or `desc-` says that it is hemorrhage, or a type of it, "
            f"found {name!r} (--labels {name}=hemorrhage says what it is, --rater {name} takes only this one)"
        )
    if value == 0:
        collection.find("left out", f"{path.name}: no hemorrhage")
        return None
    if value != UNKNOWN_VALUE:
        collection.find("note", f"{path.name}: {called(value)}")
    return {0: 0, 1: value}


def _name(own: Entities) -> str:
    """What a mask is said to show."""
    return own.get("label") or own.get("desc") or "hemorrhage"


def _scan_of(path: Path, own: Entities, scans: Mapping[Path, Entities]) -> Path:
    """The CT that a mask was drawn on."""
    theirs = {
        scan: other
        for scan, other in scans.items()
        if all(own.get(key) == other.get(key) for key in ("sub", "ses"))
        and all(own[key] == other[key] for key in set(own) & set(other) - {*OF_MASKS, "suffix"})
    }
    preferred: tuple[
        Callable[[Entities], bool], ...
    ] = (  # same entities, same space, the scan as it was taken
        lambda other: _plain(other) == _plain(own),
        lambda other: other.get("space") == own.get("space"),
        lambda other: "desc" not in other,
    )
    for prefer in preferred:
        better = {scan: other for scan, other in theirs.items() if prefer(other)}
        theirs = better or theirs
    if len(theirs) != 1:
        names = ", ".join(sorted(scan.name for scan in theirs)) or "none"
        raise InputError(f"{path}: expected one CT of sub-{own.get('sub')} that it belongs to, found {names}")
    return next(iter(theirs))


def _plain(own: Entities) -> Entities:
    return {key: value for key, value in own.items() if key not in (*OF_MASKS, "suffix")}


def _table(path: Path) -> dict[int, str]:
    """Names by value of a dseg: `index` and `name` of the table beside it, or of one above it."""
    own = path.with_name(f"{case_name(path)}.tsv")
    nearby = [own, *(p for folder in path.parents[:5] for p in sorted(folder.glob("*dseg.tsv")))]
    table = next((p for p in nearby if p.is_file()), None)
    if table is None:
        raise InputError(f"{path}: expected a table of its values, {own.name}, found none")
    try:
        rows = list(csv.DictReader(table.read_text("utf-8-sig").splitlines(), delimiter="\t"))
        return {int(row["index"]): str(row["name"]) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{table}: expected the columns index and name, found: {error!r}") from error
