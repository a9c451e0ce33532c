"""What `prepare` prints: a table of the folds, and all that was not as it should be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headct.datasets.collection import Collection, Record
from tools.core.classes import TYPES

ORDER = ("missing", "contradiction", "mismatch", "unexpected", "left out", "note")
HEADER = (
    "part",
    "patients",
    "cases",
    "slices",
    "with ICH",
    *(kind.upper() for kind in TYPES),
    "type ?",
    "mL",
)


class Report(dict):
    """The figures as a dictionary; printed, a page of text."""

    def __str__(self) -> str:
        lines = [f"{self['name']}: {self['root']} -> {self['out']}", "", *_aligned([HEADER, *self["table"]])]
        if self["volume_note"]:
            lines += [self["volume_note"]]
        for kind in ORDER:
            sentences = self["findings"].get(kind, [])
            if sentences:
                lines += ["", f"{kind} ({len(sentences)}):", *(f"  {sentence}" for sentence in sentences)]
        if not set(self["findings"]) - {"note"}:
            lines += ["", "complete: nothing missing, nothing left out"]
        if self["warning"]:
            lines += ["", self["warning"]]
        return "\n".join(lines)


def make_report(
    name: str,
    out: Path,
    collection: Collection,
    training: Sequence[Record],
    testing: Sequence[Record],
    warning: str = "",
) -> Report:
    """Report of a prepared data set."""
    folds = sorted({record.item["fold"] for record in training if "fold" in record.item})
    parts = {f"fold {fold}": [r for r in training if r.item.get("fold") == fold] for fold in folds}
    if testing:
        parts["test"] = list(testing)
    parts["all"] = [*training, *testing]
    findings: dict[str, list[str]] = {}
    for kind, sentence in collection.findings:
        findings.setdefault(kind, []).append(sentence)
    return Report(
        name=name,
        root=str(collection.root),
        out=str(out),
        table=[_row(part, records) for part, records in parts.items()],
        findings=findings,
        unlabelled=len(collection.unlabelled),
        volume_note=collection.volume_note,
        warning=warning,
    )


def _row(part: str, records: Sequence[Record]) -> list[Any]:
    typed = any(record.types for record in records) or not any(record.untyped for record in records)
    return [
        part,
        len({record.item["patient"] for record in records}),
        len(records),
        sum(len(record.slices) for record in records),
        sum(record.bleeding for record in records),
        *(sum(record.slices_with(kind) for record in records) if typed else "-" for kind in TYPES),
        sum(record.untyped for record in records),
        round(sum(record.ml for record in records), 1),
    ]


def _aligned(rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    return [
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
