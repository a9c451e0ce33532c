"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def records(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown table of dictionaries with the same keys."""
    return table(list(rows[0]), [[number(v) for v in row.values()] for row in rows])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def number(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
