"""One data set on disk -> a MONAI datalist with folds, and a report."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headct.datasets.catalogue import CATALOGUE
from headct.datasets.collection import Collection, Options, Record
from headct.datasets.folds import balanced, check_split, leaking_patients, split
from headct.datasets.layouts.volumes import volume_slices
from headct.datasets.masks import MISMATCHES
from headct.datasets.report import Report, make_report
from tools.core.classes import TYPES
from tools.core.errors import InputError
from tools.core.files import absolute, write_bytes
from tools.data.splits import LEAK_WARNING

#: Findings that `strict` does not accept.
FAULTS = ("missing", "contradiction", "mismatch", "unexpected")
#: Sets whose patients `patient_from` finds; the others say or are known to be a patient per file.
PATTERNS = ("folder", "decathlon", "nnunet", "hemorica")
LARGEST_ML = 500.0  # of hemorrhage; 300 are hardly survived


def prepare(
    dataset: str,
    root: str | Path,
    out: str | Path = "datalist.json",
    folds: int | None = None,
    by: str = "patient",
    test: float = 0.0,
    seed: int = 0,
    slices: bool = False,
    balance: bool = False,
    types: str | Sequence[str] | None = None,
    window: Sequence[float] | None = None,
    patient_from: str | None = None,
    skip: str | Sequence[str] | None = None,
    strict: bool = False,
    labels: str | Mapping[str, str] | None = None,
    on_mismatch: str = "error",
    rater: str | None = None,
    progress: bool = True,
) -> Report:
    """Check a data set, and write its datalist. Your files are not changed.

    Args:
        dataset: its name in `headct.datasets.catalogue.CATALOGUE`.
        root: its folder.
        out: datalist (JSON) to write, with paths relative to it; masks that had to be made go to a folder
            beside it, named after it.
        folds: number of folds; 0 for none, or those that the entries have; None for those that they all have,
            else 5.
        by: "patient" keeps the slices of a patient together; "slice" does not, as the D-Unet paper: scores
            are then optimistic, and the report says so.
        test: share to set aside under `testing`.
        seed: of the split and of `balance`.
        slices: one entry per slice instead of per volume, for 2D networks.
        balance: of slices without hemorrhage, keep as many as have one.
        types: types that make up the label (edh, iph, ivh, sah, sdh), of sets whose masks tell types.
        window: level and width in HU of 8-bit pictures, for `folder`.
        patient_from: regular expression whose first group is the patient in a file name, for `PATTERNS`.
        skip: cases or patients to leave out.
        strict: accept nothing that is missing, contradictory or unexpected.
        labels: what the values of the masks are, as "ICH=iph,PHE=background" or by value, "1=iph", where no
            name that is known says it.
        on_mismatch: what to do with a mask on another grid than its image: "error"; "warn" takes it voxel by
            voxel; "resample" moves it. Voxels in another order are no mismatch.
        rater: whose masks to take, of sets that several people outlined: a name or number, or "consensus".
        progress: show progress bars.

    Returns:
        the report, a dictionary that prints as text.

    Raises:
        InputError: an argument that cannot be used, a set that is not there, cases that cannot be read.
    """
    if dataset not in CATALOGUE:
        raise InputError(f"dataset: expected one of {', '.join(CATALOGUE)}, found {dataset!r}")
    check_split(folds or 0, by, test)
    root, out = absolute(root), absolute(out)
    if not root.exists():
        raise InputError(f"{root}: expected the folder of {CATALOGUE[dataset].title}, found nothing there")
    if out.is_dir() or out.suffix != ".json":
        raise InputError(f"{out}: expected a file name that ends in .json")
    options = Options(
        masks=out.parent / f"{out.stem}_masks",
        types=_types(types),
        skip=_names(skip),
        window=_window(window),
        patient_from=patient_from,
        labels=_labels(labels),
        on_mismatch=on_mismatch,
        rater=None if rater is None else str(rater),
        progress=progress,
    )
    if on_mismatch not in MISMATCHES:
        raise InputError(f"on_mismatch: expected one of {', '.join(MISMATCHES)}, found {on_mismatch!r}")
    if options.rater and dataset not in ("mbhseg2025", "bids"):
        raise InputError(f"rater: expected it for mbhseg2025 and bids, found it for {dataset}")
    if patient_from and dataset not in PATTERNS:
        raise InputError(f"patient_from: expected it for {', '.join(PATTERNS)}, found it for {dataset}")
    if options.window and dataset != "folder":
        raise InputError(
            f"window: expected it for `folder` alone, found it for {dataset}, whose files say theirs"
        )
    if options.labels and not CATALOGUE[dataset].takes_labels:
        raise InputError(f"labels: expected a set whose masks are not known, found {dataset}")
    if options.types and not CATALOGUE[dataset].takes_types:
        raise InputError(f"types: expected a data set whose masks tell types, found {dataset}")
    collection: Collection = importlib.import_module(CATALOGUE[dataset].reader).read(root, options)
    collection.stop_on_errors()
    for record in collection.records + collection.testing:
        if record.ml > LARGEST_ML:
            fault = f"expected at most {LARGEST_ML:.0f} mL of hemorrhage in a head, found {record.ml:.0f} mL"
            collection.find("unexpected", f"{record.item['case']}: {fault}")
    unknown = [name for name in options.skip if name not in collection.skipped]
    if unknown:
        raise InputError(f"skip: expected names of cases or patients of {root}, found {', '.join(unknown)}")
    training, testing = _selected(collection, slices, balance, seed)
    if folds is None:
        folds = 0 if all("fold" in record.item for record in training) else 5
    if dataset == "folder" and by == "patient" and not patient_from and _single(training) and folds:
        raise InputError(
            f"{root}: expected the patient of each picture (patient_from=REGEX) to make folds by patient, "
            "found no pattern; by=slice splits without, and may put one patient into several folds"
        )
    training, held_out = split(training, folds, by, test, seed)
    testing += held_out
    leaks = leaking_patients([*training, *testing])
    warning = LEAK_WARNING if by == "slice" and (folds or test) else ""
    if leaks:
        warning = f"{warning} {len(leaks)} patients lie in more than one part.".strip()
    report = make_report(CATALOGUE[dataset].title, out, collection, training, testing, warning)
    faults = [s for kind, s in collection.findings if kind in FAULTS]
    if strict and faults:
        raise InputError(
            f"{root}: expected nothing missing or contradictory (strict), found: {'; '.join(faults)}"
        )
    kept = {record.item["patient"] for record in [*training, *testing]}
    content = {
        "name": dataset,
        "description": CATALOGUE[dataset].what,
        "licence": CATALOGUE[dataset].licence,
        "cite": CATALOGUE[dataset].cite,
        "labels": {"0": "background", "1": "+".join(options.types or ()) or "hemorrhage"},
        "split": {"folds": folds, "by": by, "test": test, "seed": seed, "leaking_patients": leaks},
        "patients": {name: facts for name, facts in collection.patients.items() if name in kept},
        "report": {**report, "root": _relative(report["root"], out), "out": out.name},
        "training": [_entry(record.item, out) for record in training],
        "testing": [_entry(record.item, out) for record in testing],
        **{key: [_entry(item, out) for item in items] for key, items in collection.extra.items()},
    }
    write_bytes(out, (json.dumps(content, indent=1) + "\n").encode())
    return report


def _selected(
    collection: Collection, slices: bool, balance: bool, seed: int
) -> tuple[list[Record], list[Record]]:
    """Records of training and testing: as slices if asked, balanced if asked."""
    training, testing = collection.records, collection.testing
    if slices and not _single(training):
        training, testing = (
            [part for record in records for part in volume_slices(record)] for records in (training, testing)
        )
    if balance:
        training, dropped = balanced(training, seed)
        collection.find("left out", f"{dropped} slices without hemorrhage, to balance")
    if not training:
        raise InputError(f"{collection.root}: expected at least one case, found none that is left")
    if collection.unlabelled:
        count = len(collection.unlabelled)
        collection.find("left out", f"{count} images without mask, as {Path(collection.unlabelled[0]).name}")
    return list(training), list(testing)


def _single(records: Sequence[Record]) -> bool:
    """Whether records are pictures or single slices."""
    return all("slice" in record.item or "windowed" in record.item for record in records)


def _entry(item: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Entry with paths relative to the datalist."""

    def inside(value: Any) -> Any:
        if isinstance(value, list):
            return [inside(part) for part in value]
        return _relative(value, out) if isinstance(value, str) and os.path.isabs(value) else value

    return {key: inside(value) for key, value in item.items()}


def _relative(path: str, out: Path) -> str:
    return Path(os.path.relpath(path, out.parent)).as_posix()


def _types(types: str | Sequence[str] | None) -> tuple[str, ...] | None:
    names = _names(types.replace("+", ",") if isinstance(types, str) else types)
    for name in names:
        if name not in TYPES:
            raise InputError(f"types: expected some of {', '.join(TYPES)}, found {name!r}")
    return names or None


def _names(names: Any) -> tuple[str, ...]:
    """Names given as one word, as words with commas, or as a list; the command line makes numbers of some."""
    if names is None:
        return ()
    if isinstance(names, str):
        names = names.split(",")
    elif not isinstance(names, list | tuple):
        names = [names]
    return tuple(str(name).strip() for name in names if str(name).strip())


def _labels(labels: str | Mapping[str, str] | None) -> dict[str, str]:
    """Names by name or value, of words as `ICH=iph`."""
    if labels is None or isinstance(labels, Mapping):
        return {str(key): str(name) for key, name in (labels or {}).items()}
    found = {}
    for word in _names(labels):
        key, _, name = word.partition("=")
        if not key.strip() or not name.strip():
            raise InputError(f"labels: expected NAME=TYPE or VALUE=TYPE, such as 1=iph, found {word!r}")
        found[key.strip()] = name.strip()
    return found


def _window(window: Any) -> tuple[float, float] | None:
    if window is None:
        return None
    try:
        level, width = (float(value) for value in _names(window))
        if not width > 0:
            raise ValueError
    except ValueError:
        raise InputError(
            f"window: expected LEVEL,WIDTH in HU with a positive width, found {window!r}"
        ) from None
    return level, width
