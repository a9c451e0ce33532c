"""Tables and box plots of the DSC of heads, by row and seed, for pages of fair tests."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from headct.reproduce.fair.rows import Runs, group_mean, mean_of_seeds, seed_paired_table, with_sd
from tools.core.markdown import table
from tools.core.tables import Row
from tools.report.plots import save_figure

__all__ = ["Part", "count_of", "dsc_boxes", "part_of_page"]

LIMITS = ((0.7, "below"), (0.8, "above"), (0.9, "above"))
"""DSC below and above which Abramova 2021 counts cases (section 4)."""

Paper = Mapping[str, Sequence[float | None]]
"""DSC of all cases, of those with and of those without IVH, by row."""


@dataclass(frozen=True)
class Part:
    """Rows that are compared.

    Args:
        title: heading.
        rows: their names.
        pairs: which are tested against each other.
        text: what must be known of them.
        paper: the paper's DSC of all cases, of those with and of those without IVH, by row.
    """

    title: str
    rows: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    text: str = ""
    paper: Paper = field(default_factory=dict)


def part_of_page(part: Part, tables: Runs) -> list[str | Sequence[str]]:
    """Heading, tables and paired tests of the rows that were run; nothing where that is fewer than two.

    Args:
        part: what is compared.
        tables: rows of `per_case.csv` by row and seed.
    """
    own = {name: tables[name] for name in part.rows if name in tables}
    if len(own) < 2:
        return []
    tests = seed_paired_table(own, part.pairs, groups=("all", "ivh", "no_ivh"))
    return [f"## {part.title}", part.text, _dsc_table(own, part.paper), _counts_table(own), tests]


def _dsc_table(tables: Runs, paper: Paper) -> list[str]:
    """DSC by group, beside the paper's where it states any, and the deviation over heads."""
    groups, lines = ("all", "ivh", "no_ivh"), []
    stated = [any(paper.get(name, (None,) * 3)[n] is not None for name in tables) for n in range(3)]
    for name, seeds in tables.items():
        figures = paper.get(name, (None,) * 3)
        cells = [name, str(len(seeds))]
        for number, group in enumerate(groups):
            figure = figures[number]
            cells += [f"{figure:.3f}" if figure is not None else ""] if stated[number] else []
            cells.append(with_sd(seeds, group_mean("dice", group)))
        spread = with_sd(seeds, lambda rows: statistics.stdev(float(row["dice"]) for row in rows))
        lines.append([*cells, spread])
    head = ["", "seeds"]
    for number, title in enumerate(("DSC", "with IVH", "without IVH")):
        head += [f"{title}, paper", f"{title}, ours"] if stated[number] else [title]
    return table([*head, "sd of heads"], lines)


def _counts_table(tables: Runs) -> list[str]:
    """Least and greatest DSC, and how many heads lie below and above the limits that the paper names."""
    lines = []
    for name, seeds in tables.items():
        cells = [name]
        for pick in (min, max):
            cells.append(with_sd(seeds, partial(_extreme, pick=pick)))
        for limit, side in LIMITS:
            cells.append(with_sd(seeds, partial(count_of, limit=limit, side=side), 1))
        lines.append(cells)
    heads = len(next(iter(next(iter(tables.values())).values())))
    sides = [f"{side} {limit} (of {heads})" for limit, side in LIMITS]
    return table(["", "least DSC", "greatest DSC", *sides], lines)


def _extreme(rows: Sequence[Row], pick: Callable[[Iterable[float]], float]) -> float:
    return pick(float(row["dice"]) for row in rows)


def count_of(rows: Sequence[Row], limit: float, side: str) -> float:
    """How many heads have a DSC below the limit, or above it (`side`)."""
    scores = [float(row["dice"]) for row in rows]
    return float(sum(score < limit if side == "below" else score > limit for score in scores))


def dsc_boxes(tables: Runs, path: Path) -> Path:
    """Box plots of the DSC of heads by row, with IVH and without; each head's mean over seeds.

    Args:
        tables: rows of `per_case.csv` by row and seed.
        path: PNG file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axis = figure.subplots()
    for shift, ivh, colour, text in (
        (-0.18, True, "#d9534f", "with IVH"),
        (0.18, False, "#4f81bd", "without IVH"),
    ):
        scores = [
            [float(row["dice"]) for row in mean_of_seeds(seeds) if bool(row["ivh"]) == ivh]
            for seeds in tables.values()
        ]
        places = np.arange(len(tables)) + shift
        boxes = axis.boxplot(scores, positions=places, widths=0.3, patch_artist=True, manage_ticks=False)
        for box in boxes["boxes"]:
            box.set(facecolor=colour, alpha=0.6)
        axis.plot([], [], color=colour, linewidth=6, alpha=0.6, label=text)
    axis.set_xticks(np.arange(len(tables)), list(tables), rotation=40, ha="right")
    axis.set(ylim=(0, 1), ylabel="DSC of a head, mean over seeds")
    figure.legend(frameon=False, loc="outside upper right", ncols=2)
    return save_figure(figure, path, dpi=90)
