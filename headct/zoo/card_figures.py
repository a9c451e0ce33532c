"""The figures of `metadata.json` and those of the model card, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

__all__ = ["figure_faults"]

TITLE = "eval_metrics"
"""What the head of the card's table says: `| eval_metrics | value |`."""


def figure_faults(card: str, metrics: Any) -> Iterator[str]:
    """One sentence for each difference between `eval_metrics` and the card's table of that name.

    Args:
        card: text of `docs/README.md`.
        metrics: `eval_metrics` of `metadata.json`: finite numbers by name.
    """
    if not isinstance(metrics, dict):
        yield f"expected eval_metrics of metadata.json to be numbers by name, found {metrics!r}"
        return
    rows = list(_rows(card))
    stated = dict(rows)
    if len(stated) < len(rows):
        yield f"expected each figure once in the table {TITLE} of docs/README.md, found one twice"
    for name, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            yield f"expected a number as {name} in eval_metrics of metadata.json, found {value!r}"
        elif name not in stated:
            yield f"expected {name} = {value} in the table {TITLE} of docs/README.md, found no such row"
        elif _number(stated[name]) != value:
            yield f"expected {name} = {value} of metadata.json in docs/README.md, found {stated[name]}"
    for name in stated.keys() - metrics.keys():
        yield f"expected {name} of docs/README.md in eval_metrics of metadata.json, found no such figure"


def _rows(card: str) -> Iterator[tuple[str, str]]:
    """Name and value of each row of the tables whose head is `TITLE`."""
    inside = False
    for line in card.splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        if not line.lstrip().startswith("|"):
            inside = False
        elif cells[0] == TITLE:
            inside = True
        elif inside and cells[0].strip("-: "):
            yield cells[0], cells[1] if len(cells) == 2 else line.strip()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
