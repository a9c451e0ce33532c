"""What an adapter found in a data set: its cases, and everything that is not as it should be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.core.classes import TYPES
from tools.core.errors import InputError

#: Types on one slice: () without hemorrhage, None with hemorrhage of unknown type.
SliceTypes = tuple[str, ...] | None


@dataclass
class Record:
    """One entry of the datalist, and what the report counts of it.

    Attributes:
        item: the entry, with absolute paths.
        slices: types on each of its slices, in the order of the file; one slice for a picture.
        ml: volume of the hemorrhage in mL.
    """

    item: dict[str, Any]
    slices: list[SliceTypes]
    ml: float = 0.0

    @property
    def types(self) -> list[str]:
        """Types that are known to occur, in the order of their class values."""
        return [kind for kind in TYPES if any(kind in types for types in self.slices if types)]

    def slices_with(self, kind: str) -> int:
        """Slices on which a type occurs."""
        return sum(kind in types for types in self.slices if types)

    @property
    def bleeding(self) -> int:
        """Slices with hemorrhage."""
        return sum(types is None or bool(types) for types in self.slices)

    @property
    def untyped(self) -> int:
        """Slices with hemorrhage of unknown type."""
        return sum(types is None for types in self.slices)


@dataclass
class Options:
    """What the user asked an adapter for; see `headct.datasets.prepare`."""

    masks: Path
    types: tuple[str, ...] | None = None
    skip: tuple[str, ...] = ()
    window: tuple[float, float] | None = None
    patient_from: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    on_mismatch: str = "error"
    rater: str | None = None
    progress: bool = True


@dataclass
class Collection:
    """A data set as it lies on disk.

    Attributes:
        root: its folder.
        records, testing: cases to make folds of, and cases that the set itself sets aside for testing.
        patients: age, sex ... by patient number, where the set has them.
        unlabelled: images without mask.
        findings: what is missing, contradictory, unexpected ..., as (kind, sentence).
        errors: files that cannot be used.
        volume_note: how far the volumes can be trusted; empty where they come from a header.
        extra: further lists of the datalist, by key.
        skipped: those of the names in `Options.skip` that some case had.
    """

    root: Path
    records: list[Record] = field(default_factory=list)
    testing: list[Record] = field(default_factory=list)
    patients: dict[str, dict[str, Any]] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)
    findings: list[tuple[str, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    volume_note: str = ""
    extra: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)

    def find(self, kind: str, sentence: str) -> None:
        """Note something that the report must say: `missing`, `contradiction`, `unexpected`, `note` ..."""
        self.findings.append((kind, sentence))

    def skips(self, options: Options, *names: str) -> bool:
        """Whether the user asked to leave out the case with these names; "77" also means "077"."""
        asked = {skip for skip in options.skip for name in names if _same(skip, name)}
        if asked:
            self.skipped |= asked
            self.find("left out", f"{names[0]}, as asked")
        return bool(asked)

    @contextmanager
    def checking(self) -> Iterator[None]:
        """Collect the `InputError` of one case, so that one run names all cases that cannot be used."""
        try:
            yield
        except InputError as error:
            self.errors.append(str(error))

    def stop_on_errors(self) -> None:
        """Raise one `InputError` for all cases that cannot be used."""
        if not self.errors:
            return
        shown = "; ".join(self.errors[:5])
        more = f"; and {len(self.errors) - 5} more" if len(self.errors) > 5 else ""
        raise InputError(
            f"{self.root}: expected a data set that can be read throughout, found "
            f"{len(self.errors)} unusable: {shown}{more} (skip=CASE,CASE leaves cases out)"
        )


def ranges(numbers: Iterable[int], width: int = 0) -> str:
    """Numbers in few words: "1-3, 7"."""
    ordered = sorted(set(numbers))
    runs: list[list[int]] = []
    for number in ordered:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(
        f"{first:0{width}d}" if first == last else f"{first:0{width}d}-{last:0{width}d}"
        for first, last in runs
    )


def join_types(types: Iterable[str]) -> str:
    """Types as one word, "edh+sah"; "" for none. Lists of different lengths would not collate."""
    return "+".join(types)


def need_folder(path: Path, holding: str) -> Path:
    """Return the folder, or raise `InputError`."""
    if not path.is_dir():
        raise InputError(f"{path}: expected a folder of {holding}, found no such folder")
    return path


def _same(asked: str, name: str) -> bool:
    return asked == name or (asked.isdigit() and name.isdigit() and int(asked) == int(name))
