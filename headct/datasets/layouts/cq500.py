"""CQ500 (Chilamkurthy 2018): 491 head CTs as DICOM and three radiologists' reads, but no masks.

    ROOT/reads.csv                                  name, Category, R1:ICH ... R3:ICH, R1:Fracture ...
    ROOT/**/CQ500CT0 CQ500CT0/Unknown Study/CT Plain/*.dcm

Taken are the scans in which none of the three saw a hemorrhage: negatives, with an empty mask. The others
have no mask; they are counted, and left out.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from tqdm import tqdm

from headct.datasets.collection import Collection, Options
from headct.datasets.layouts.negatives import negative
from headct.datasets.layouts.volumes import Twins
from headct.predict.input.sources import Source, Study, find_sources
from tools.core.errors import InputError

READERS = ("R1", "R2", "R3")
OTHER = ("Fracture", "MassEffect", "MidlineShift")


def read(root: Path, options: Options) -> Collection:
    """Convert the scans without hemorrhage.

    Raises:
        InputError: no reads.csv with its columns, or no folder of a scan.
    """
    reads, collection = _reads(root / "reads.csv"), Collection(root)
    folders: dict[str, Path] = {}
    for path in sorted(root.rglob("CQ500*")):
        name = _number(path.name)
        if path.is_dir() and name and name not in folders:
            folders[name] = path
    if not folders:
        raise InputError(f"{root}: expected folders as 'CQ500CT0 CQ500CT0', found none")
    unread, absent = sorted(set(folders) - set(reads)), sorted(set(reads) - set(folders))
    for what, names in (("reads of scans", unread), ("scans", absent)):
        if names:
            collection.find("missing", f"{what} {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}")
    normal = [name for name in folders if name in reads and not any(reads[name][f"{r}:ICH"] for r in READERS)]
    other = sum(any(reads[name].get(f"{r}:{what}") for r in READERS for what in OTHER) for name in normal)
    collection.find(
        "note", f"{other} of the {len(normal)} scans without hemorrhage show a fracture or mass effect"
    )
    collection.find(
        "left out", f"{len(folders) - len(normal) - len(unread)} scans with hemorrhage, without masks"
    )
    twins = Twins()
    for name in tqdm(normal, desc="convert scans", unit="case", disable=not options.progress):
        case = f"CQ500-CT-{name}"
        if collection.skips(options, case, name):
            continue
        with collection.checking():
            record = negative(collection, _study(folders[name]), case, case, options, twins)
            collection.records.append(record)
    return collection


def _study(folder: Path) -> Source:
    """All DICOM images below a scan's folder as one study: CQ500's studies are called `Unknown Study`."""
    study = Study("")
    for source in find_sources(folder):
        if source.fault:
            raise InputError(source.fault)
        if source.study is not None:
            study.headers.update(source.study.headers)
            study.broken.update(source.study.broken)
    return Source(folder, folder.name, study)


def _number(name: str) -> str:
    match = re.match(r"CQ500[-_]?CT[-_]?(\d+)(?:\D|$)", name)
    return str(int(match[1])) if match else ""


def _reads(path: Path) -> dict[str, dict[str, bool]]:
    """Findings of each reader by scan number."""
    if not path.is_file():
        raise InputError(f"{path}: expected the table of reads (CSV), found no such file")
    try:
        rows = list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a table (CSV, UTF-8), found: {error}") from error
    needed = ("name", *(f"{reader}:ICH" for reader in READERS))
    found: dict[str, dict[str, bool]] = {}
    for line, row in enumerate(rows, 2):
        missing = [column for column in needed if row.get(column) is None]
        number = _number(row.get("name") or "")
        flags = {key: str(value).strip() for key, value in row.items() if key and ":" in key}
        odd = [key for key, value in flags.items() if value not in ("0", "1", "")]
        if missing or not number or odd or not all(flags[column] for column in needed[1:]):
            what = (
                f"the column {missing[0]}"
                if missing
                else f"CQ500-CT-n and flags of 0 and 1 ({odd or number})"
            )
            raise InputError(f"{path}, line {line}: expected {what}, found none")
        if number in found:
            raise InputError(f"{path}, line {line}: expected each scan once, found CQ500-CT-{number} again")
        found[number] = {key: value == "1" for key, value in flags.items()}
    if not found:
        raise InputError(f"{path}: expected rows of scans, found none")
    return found
