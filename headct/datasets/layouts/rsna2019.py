"""RSNA 2019: DICOM slices with the types of hemorrhage of each image, but no masks.

    ROOT/stage_2_train.csv                 ID_<image>_<type>,0 or 1; six rows for each image
    ROOT/stage_2_train/ID_<image>.dcm      all slices of all studies in one folder

Studies of which no image shows hemorrhage are cases with an empty mask. Those with it have no mask: they
stand in the datalist under `by_image`, with the types of each slice, for scores of detection.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from tqdm import tqdm

from headct.datasets.collection import Collection, Options, join_types
from headct.datasets.layouts.dicom import converted
from headct.datasets.layouts.negatives import negative
from headct.datasets.layouts.volumes import Twins
from headct.predict.input.sources import Source, find_sources
from tools.core.classes import TYPES
from tools.core.errors import InputError
from tools.volumes.stack import corner_of

NAMES = {
    "epidural": "edh", "intraparenchymal": "iph", "intraventricular": "ivh", "subarachnoid": "sah",
    "subdural": "sdh", "any": "any",
}  # fmt: skip


def read(root: Path, options: Options) -> Collection:
    """Convert the studies below `root`.

    Raises:
        InputError: no table or no slices; images that the table does not know.
    """
    tables = [root / f"stage_{k}_train.csv" for k in (2, 1)]
    table = next((path for path in tables if path.is_file()), tables[0])
    labels, collection = _labels(table), Collection(root)
    folder = root / table.stem
    twins = Twins()
    sources = find_sources(folder if folder.is_dir() else root)
    collection.extra["by_image"] = []
    for source in tqdm(sources, desc="convert studies", unit="study", disable=not options.progress):
        if source.fault:
            raise InputError(source.fault)
        if source.study is None:
            continue
        headers = source.study.headers
        case = source.study.uid
        patient = str(next(iter(headers.values())).get("PatientID", "") or case)
        if collection.skips(options, case, patient):
            continue
        unknown = [file.stem for file in headers if file.stem not in labels]
        if unknown:
            collection.find("missing", f"labels of {len(unknown)} images of {case}, such as {unknown[0]}")
            continue
        with collection.checking():
            if not any(labels[file.stem] for file in headers):
                collection.records.append(negative(collection, source, case, patient, options, twins))
            else:
                item = _positive(collection, source, case, labels, options)
                collection.extra["by_image"].append({**item, "patient": patient})
    count = len(collection.extra["by_image"])
    collection.find("left out", f"{count} studies with hemorrhage, which have no masks: see `by_image`")
    return collection


def _positive(
    collection: Collection, source: Source, case: str, labels: dict[str, set[str]], options: Options
) -> dict[str, Any]:
    """Entry of a study with the types of each slice of its volume, in the order of the file."""
    image = converted(collection, source, case, options)
    volume: Any = nib.load(image)
    assert source.study is not None
    corners = {file: corner_of(header) for file, header in source.study.headers.items()}
    if len(corners) != volume.shape[2] or any(corner is None for corner in corners.values()):
        raise InputError(
            f"{source.path}: expected as many slices as images of {case}, found {volume.shape[2]}"
        )
    upward = volume.affine[2, 2] > 0
    files = sorted(corners, key=lambda file: float(np.asarray(corners[file])[2]), reverse=not upward)
    slices = [labels[file.stem] for file in files]
    types = [join_types(kind for kind in TYPES if kind in found) for found in slices]
    return {
        "image": str(image), "case": case, "slice_types": types, "slice_hemorrhage": [bool(s) for s in slices]
    }  # fmt: skip


def _labels(path: Path) -> dict[str, set[str]]:
    """Types, and `any`, of each image."""
    if not path.is_file():
        raise InputError(f"{path}: expected the table of labels (CSV), found no such file")
    found: dict[str, set[str]] = {}
    seen: dict[str, set[str]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            for line, row in enumerate(csv.DictReader(stream), 2):
                image, _, kind = str(row.get("ID") or "").rpartition("_")
                label = str(row.get("Label") or "").strip()
                if not image or kind not in NAMES or label not in ("0", "1"):
                    raise InputError(
                        f"{path}, line {line}: expected ID_x_TYPE and 0 or 1, found {list(row.values())}"
                    )
                seen.setdefault(image, set()).add(kind)  # the table has some rows twice
                found.setdefault(image, set())
                if label == "1":
                    found[image].add(NAMES[kind])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a table (CSV, UTF-8), found: {error}") from error
    short = next((image for image, kinds in seen.items() if len(kinds) < len(NAMES)), None)
    if not found or short:
        raise InputError(f"{path}: expected {len(NAMES)} rows of each image, found fewer of {short or 'all'}")
    return found
