"""Per-case tables: a list of dictionaries, written as CSV. An empty cell is None."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def write_json(path: str | Path, content: Any) -> Path:
    """Indented strict JSON: infinities become the strings "inf" and "-inf", which JSON has no number for."""
    return write_text(path, json.dumps(_strict(content), indent=2, allow_nan=False) + "\n")


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return int(value) if isinstance(value, bool) else value


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(v) for v in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    return value
