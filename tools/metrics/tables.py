"""Per-case tables: a list of dictionaries, written and read as CSV. An empty cell is None."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.errors import InputError
from tools.files import write_bytes

Row = dict[str, Any]


def write_atomically(path: str | Path, text: str) -> Path:
    """Write a text file so that no reader ever sees half of it."""
    path = Path(path)
    write_bytes(path, text.encode())
    return path


def write_csv(path: str | Path, rows: Sequence[Row]) -> Path:
    """One line per row; columns in the order of their first appearance; floats at full precision."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _cell(v) for k, v in row.items()} for row in rows)
    return write_atomically(path, stream.getvalue())


def read_csv(path: str | Path) -> list[Row]:
    """Rows of a table that `write_csv` wrote; numbers become int or float, empty cells None."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a per-case table (CSV), found no such file")
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [
            {k: v if k == "case" else _value(v) for k, v in row.items()} for row in csv.DictReader(stream)
        ]
    if not rows or "case" not in rows[0]:
        raise InputError(f"{path}: expected a per-case table with a column 'case' and at least one row")
    return rows


def write_json(path: str | Path, content: Any) -> Path:
    """Indented strict JSON: infinities become the strings "inf" and "-inf", which JSON has no number for."""
    return write_atomically(path, json.dumps(_strict(content), indent=2, allow_nan=False) + "\n")


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return int(value) if isinstance(value, bool) else value


def _value(text: str) -> Any:
    if text == "":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(v) for v in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    return value
