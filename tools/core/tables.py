"""Per-case tables: a list of dictionaries, written and read as CSV. An empty cell is None."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.core.errors import InputError
from tools.core.files import write_text

Row = dict[str, Any]


def write_csv(path: str | Path, rows: Sequence[Row]) -> Path:
    """One line per row; columns in the order of their first appearance; floats at full precision."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _cell(v) for k, v in row.items()} for row in rows)
    return write_text(path, stream.getvalue())


def read_csv(path: str | Path) -> list[Row]:
    """Rows of a table that `write_csv` wrote; numbers become int or float, empty cells None.

    Raises:
        InputError: no such file, no CSV, rows of different lengths, no column `case`, or no row.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a per-case table (CSV), found no such file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            table = [line for line in csv.reader(stream) if line]
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a table (CSV, UTF-8), found: {error}") from error
    columns = table[0] if table else []
    for number, line in enumerate(table, start=1):
        if len(line) != len(columns):
            raise InputError(
                f"{path}: expected {len(columns)} cells in each row, as in the first, found {len(line)} in "
                f"row {number}"
            )
    rows = [
        {k: v if k == "case" else _value(v) for k, v in zip(columns, line, strict=True)} for line in table[1:]
    ]
    if not rows or "case" not in rows[0]:
        raise InputError(f"{path}: expected a per-case table with a column 'case' and at least one row")
    return rows


def write_json(path: str | Path, content: Any) -> Path:
    """Indented strict JSON: infinities become the strings "inf" and "-inf", which JSON has no number for."""
    return write_text(path, json.dumps(_strict(content), indent=2, allow_nan=False) + "\n")


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
