"""Per-case tables read as they were written: a list of dictionaries. An empty cell is None."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from tools.core.errors import InputError
from tools.core.tables import Row

__all__ = ["read_csv"]

TEXTS = ("case", "patient")  # names, of which Python takes 1_1 for 11 and 12e5 for 1200000


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
        {k: v if k in TEXTS else _value(v) for k, v in zip(columns, line, strict=True)} for line in table[1:]
    ]
    if not rows or "case" not in rows[0]:
        raise InputError(f"{path}: expected a per-case table with a column 'case' and at least one row")
    return rows


def _value(text: str) -> Any:
    if text == "":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
