"""Parts of a results page: the paper's figure beside ours, paired tests, and what was run on what."""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import monai
import torch

from headct.scores.compare import compare_runs
from tools.core.markdown import table
from tools.core.tables import Row
from tools.report.summary import GROUPS, mean_sd

__all__ = ["beside_table", "figure", "machine", "markdown", "order_agreement", "paired_table", "provenance"]


def markdown(title: str, *parts: str | Sequence[str]) -> str:
    """A page: its title, then paragraphs, tables (lines) and headings, with a blank line between them."""
    blocks = [part if isinstance(part, str) else "\n".join(part) for part in parts]
    return "\n\n".join([f"# {title}", *(block for block in blocks if block)]) + "\n"


def provenance(
    command: str, data: str, split: str, cases: str, more: Mapping[str, str] | None = None
) -> list[str]:
    """Table that every page begins with: command, data, split, cases, machine, versions.

    Args:
        command: that makes the page.
        data: what was trained and scored on; synthetic data is called that.
        split: how training and scored cases were separated.
        cases: how many there are, and how many of them are scored.
        more: further lines, such as epochs and patches.
    """
    entries = {
        "command": f"`{command}`",
        "data": data,
        "split": split,
        "cases": cases,
        **(more or {}),
        "machine": machine(),
        "versions": f"torch {torch.__version__}, MONAI {monai.__version__}",
    }
    return table(["", ""], [[key, text] for key, text in entries.items()])


def machine() -> str:
    """Processor or GPU, and cores, in words."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{name}, {os.cpu_count()} cores, {gpu}"


def figure(rows: Sequence[Row], column: str = "dice", group: str = "all") -> str:
    """`mean ± sd (n)` of a column over a group of `GROUPS` (all, ivh, no_ivh); "no case" if empty."""
    values = [float(row[column]) for row in rows if GROUPS[group](row) and row.get(column) is not None]
    if not values:
        return "no case"
    mean, sd = mean_sd(values)
    return f"{mean:.3f}" + (f" ± {sd:.3f}" if sd is not None else "") + f" ({len(values)})"


def beside_table(
    paper: Mapping[str, Mapping[str, float | str | None]],
    tables: Mapping[str, Sequence[Row]],
    columns: Mapping[str, Callable[[Sequence[Row]], str] | tuple[str, str]],
) -> list[str]:
    """The paper's table with ours beside it: for each column two, the paper's and ours.

    Args:
        paper: the paper's figures by row and column; a row or column that is absent stays empty.
        tables: our rows of `per_case.csv` by row; a row that was not run says so.
        columns: by title (metric, group) for `figure`, or a function from rows to text.
    """
    head = ["", *itertools.chain.from_iterable((f"{name}, paper", f"{name}, ours") for name in columns)]
    lines = []
    for row in dict.fromkeys([*paper, *tables]):
        cells = [row]
        for name, how in columns.items():
            value = paper.get(row, {}).get(name)
            cells.append("" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value))
            if row not in tables:
                cells.append("not run")
            else:
                cells.append(how(tables[row]) if callable(how) else figure(tables[row], *how))
        lines.append(cells)
    return table(head, lines)


def paired_table(
    tables: Mapping[str, Sequence[Row]],
    pairs: Sequence[tuple[str, str]],
    column: str = "dice",
    groups: Sequence[str] = ("all",),
) -> list[str]:
    """Paired t-test and Wilcoxon's test, case by case, of second minus first; uncorrected p-values.

    Args:
        tables: rows by configuration; pairs of which one was not run are left out.
        pairs: names of two configurations.
        column: metric.
        groups: of `tools.report.summary.GROUPS`; a group of fewer than two cases says so.
    """
    lines = []
    for first, second in pairs:
        if first not in tables or second not in tables:
            continue
        for group in groups:
            a, b = ([row for row in tables[name] if GROUPS[group](row)] for name in (first, second))
            start = [first, second, group, str(len(a))]
            if len(a) < 2:
                lines.append([*start, "fewer than two cases", "", ""])
                continue
            test = compare_runs(a, b, (column,))[0]
            p_t = "none" if test["p_t"] is None else f"{test['p_t']:.3g}"
            lines.append([*start, f"{test['mean_difference']:+.3f}", p_t, f"{test['p_wilcoxon']:.3g}"])
    if not lines:
        return []
    return table(["first", "second", "cases", "n", f"difference of {column}", "p (t)", "p (Wilcoxon)"], lines)


def order_agreement(paper: Mapping[str, float], ours: Mapping[str, Any]) -> str:
    """One sentence: does our order agree with the paper's, and which pairs are the other way round?

    Args:
        paper: figures by row, higher is better.
        ours: our means; rows that are in one of the two only are left out.
    """
    names = [name for name in paper if name in ours]
    pairs = [
        (a, b) if paper[a] > paper[b] else (b, a)
        for a, b in itertools.combinations(names, 2)
        if paper[a] != paper[b]
    ]
    swapped = [(a, b) for a, b in pairs if ours[a] < ours[b]]
    if not pairs:
        return "Too few rows were run to speak of an order."
    if not swapped:
        return f"The order of the {len(names)} rows is the paper's."
    found = "; ".join(f"{a} is below {b}" for a, b in swapped)
    right = len(pairs) - len(swapped)
    return f"{right} of {len(pairs)} pairs of rows are in the paper's order. Not so: {found}."
