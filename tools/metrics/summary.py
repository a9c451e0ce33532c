"""From a per-case table to the figures of a paper: mean +- sd over images, pooled, location, by group."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tools.metrics.overlap import OVERLAP_NAMES, overlap_scores
from tools.metrics.tables import Row

# Columns with a plain number per case; others (case, hit, counts ...) are not averaged.
NOT_AVERAGED = {"case", "ivh", "hit", "false_alarm", "tp", "fp", "fn"}

GROUPS: dict[str, Callable[[Row], bool]] = {
    "all": lambda row: True,
    "ivh": lambda row: _flag(row) is True,
    "no_ivh": lambda row: _flag(row) is False,
}


def summarize(rows: Sequence[Row]) -> dict[str, Any]:
    """Statistics of the groups of cases: all, with and without intraventricular hemorrhage (Abramova 2021).

    Args:
        rows: one dictionary per case with the columns that `case_row` makes; `ivh` is True, False or None
            (unknown, then the case counts in `all` only). Other numeric columns are averaged as well.

    Returns:
        for each group that has cases: `n`, `mean` and `sd` (n - 1; None for one case) of every numeric
            column,
        `pooled` overlap, and `location`: accuracy over the images with lesion, specificity over those
        without. A column's mean is over all cases of the group; where a case has no value (for instance
        ABC/2 without lesion), `n_of` says over how many cases the mean goes.
    """
    groups = {name: [row for row in rows if belongs(row)] for name, belongs in GROUPS.items()}
    return {name: _group(members) for name, members in groups.items() if members}


def _group(rows: Sequence[Row]) -> dict[str, Any]:
    columns = [c for c in dict.fromkeys(k for row in rows for k in row) if c not in NOT_AVERAGED]
    mean, sd, n_of = {}, {}, {}
    for column in columns:
        values = [row.get(column) for row in rows]
        numbers = [float(v) for v in values if isinstance(v, (int, float))]
        if not numbers or any(isinstance(v, str) for v in values):
            continue
        mean[column], sd[column] = mean_sd(numbers)
        if len(numbers) < len(rows):
            n_of[column] = len(numbers)
    counts = torch.tensor([[row["tp"], row["fp"], row["fn"]] for row in rows], dtype=torch.int64).sum(dim=0)
    pooled = overlap_scores(counts)
    group = {
        "n": len(rows),
        "mean": mean,
        "sd": sd,
        "pooled": {name: float(pooled[name]) for name in OVERLAP_NAMES},
        "location": location_summary(rows),
    }
    return group | ({"n_of": n_of} if n_of else {})


def mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1); the latter is None for one value or infinite values."""
    mean = math.fsum(values) / len(values) if all(map(math.isfinite, values)) else sum(values)
    if len(values) < 2 or not math.isfinite(mean):
        return mean, None
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def location_summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Location accuracy with its n, and image-level specificity with its n (None where n is 0)."""
    hits = [row["hit"] for row in rows if row.get("hit") is not None]
    alarms = [row["false_alarm"] for row in rows if row.get("false_alarm") is not None]
    return {
        "accuracy": sum(hits) / len(hits) if hits else None,
        "n_with_lesion": len(hits),
        "hits": int(sum(hits)),
        "specificity": 1 - sum(alarms) / len(alarms) if alarms else None,
        "n_without_lesion": len(alarms),
        "false_alarms": int(sum(alarms)),
    }


def summary_markdown(summary: dict[str, Any], title: str = "Metrics") -> str:
    """The summary as a page of Markdown tables."""
    groups = list(summary)
    titles = {"all": "all cases", "ivh": "with IVH", "no_ivh": "without IVH"}
    head = ["| | " + " | ".join(titles.get(g, g) for g in groups) + " |", "|---|" + "---|" * len(groups)]

    def line(name: str, cell: Callable[[dict[str, Any]], str]) -> str:
        return f"| {name} | " + " | ".join(cell(summary[g]) for g in groups) + " |"

    def mean_cell(column: str) -> Callable[[dict[str, Any]], str]:
        def cell(group: dict[str, Any]) -> str:
            mean, sd = group["mean"].get(column), group["sd"].get(column)
            n = group.get("n_of", {}).get(column)
            if mean is None:
                return "-"
            return f"{mean:.4g}" + (f" ± {sd:.4g}" if sd is not None else "") + (f" (n = {n})" if n else "")

        return cell

    def share(value: str, part: str, whole: str) -> Callable[[dict[str, Any]], str]:
        def cell(group: dict[str, Any]) -> str:
            location = group["location"]
            if location[value] is None:
                return "no such image"
            return f"{location[value]:.4g} ({location[part]} of {location[whole]})"

        return cell

    columns = list(dict.fromkeys(c for g in groups for c in summary[g]["mean"]))
    lines = [
        f"# {title}",
        "",
        "Mean ± sd over images. Pooled: the voxels of all images counted together, then scored.",
        "Overlap of an empty truth and an empty prediction is 1, of one empty side 0; no case is left out.",
        "",
        *head,
        line("cases", lambda g: str(g["n"])),
        *(line(column, mean_cell(column)) for column in columns),
        *(line(f"{name}, pooled", lambda g, name=name: f"{g['pooled'][name]:.4g}") for name in OVERLAP_NAMES),
        line("location accuracy", share("accuracy", "hits", "n_with_lesion")),
        line("images without lesion: false alarms", share_alarms),
    ]
    return "\n".join(lines) + "\n"


def share_alarms(group: dict[str, Any]) -> str:
    """Cell of the false alarms: specificity and what it was counted from."""
    location = group["location"]
    if location["specificity"] is None:
        return "no such image"
    alarms, n = location["false_alarms"], location["n_without_lesion"]
    return f"{alarms} of {n} (specificity {location['specificity']:.4g})"


def _flag(row: Row) -> bool | None:
    value = row.get("ivh")
    return None if value is None else bool(value)
