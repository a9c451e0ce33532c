"""What all fair tests share: rows with several seeds, equal in everything else, and tables of them.

A fair test takes the anatomy of real people, test heads of people whom no training has seen, the same number
of optimiser steps in every row of a table, and three seeds for each row that carries a claim.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from headct.cohort.workers import Workers
from headct.reproduce import Setting, among
from headct.reproduce.configurations import Configuration, run_configurations
from headct.reproduce.fair.heads import FairHeads, write_fair_heads
from headct.reproduce.page import paired_table
from tools.core.errors import InputError
from tools.core.tables import Row
from tools.report.summary import GROUPS

__all__ = [
    "SEEDS",
    "FairOptions",
    "FairRow",
    "FairTest",
    "Runs",
    "group_mean",
    "mean_of_seeds",
    "not_run",
    "row_configurations",
    "run_rows",
    "run_seconds",
    "run_test",
    "seed_paired_table",
    "with_sd",
]

T = TypeVar("T")

SEEDS = 3
"""Seeds of a row that carries a claim."""

Runs = Mapping[str, Mapping[int, Sequence[Row]]]
"""Rows of `per_case.csv` by row of the table and seed."""


@dataclass(frozen=True)
class FairOptions:
    """What can be chosen besides `Setting`.

    Args:
        anatomy: folder of label maps of real heads, see docs/phantom.md.
        rows: of the tables; None for all.
        finished: only write the page of the runs that are finished.
    """

    anatomy: str | Path | None = None
    rows: Sequence[str] | None = None
    finished: bool = False


@dataclass(frozen=True)
class FairRow:
    """One row of a table.

    Args:
        overlays: in `configs/variants` of the bundle.
        keys: further keys of its configuration.
        seeds: how many trainings it has, with the seeds 0, 1 and so on.
    """

    overlays: tuple[str, ...] = ()
    keys: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 1


def row_configurations(rows: Mapping[str, FairRow], bundle: str) -> dict[tuple[str, int], Configuration]:
    """Configurations by row and seed, all with seed 0 first."""
    return {
        (name, seed): Configuration(f"{name}_seed_{seed}", bundle, row.overlays, {**row.keys, "seed": seed})
        for seed in range(max(row.seeds for row in rows.values()))
        for name, row in rows.items()
        if seed < row.seeds
    }


def run_rows(
    rows: Mapping[str, FairRow],
    bundle: str,
    work_dir: Path,
    keys: Mapping[str, Any],
    jobs: int | Workers = 1,
    finished: bool = False,
) -> dict[str, dict[int, list[Row]]]:
    """Train and score the rows: all with seed 0 first, so that an early end leaves whole tables.

    Args:
        rows: by name, which is also the name of their folders.
        bundle: name or folder of the bundle.
        work_dir: folder of the runs, `NAME_seed_0` and so on; finished ones are kept.
        keys: of all configurations; a row's own go first.
        jobs: runs at a time, or where they run.
        finished: start none, and leave out what is not finished.

    Returns:
        for each row and seed the rows of `per_case.csv`, sorted by case.

    Raises:
        InputError: see `run_configurations`; or nothing is finished.
    """
    runs = row_configurations(rows, bundle)
    if finished:
        runs = {key: one for key, one in runs.items() if one.run_in(work_dir.resolve(), keys).finished}
        if not runs:
            raise InputError(f"{work_dir}: expected at least one finished run, found none")
    found = run_configurations(list(runs.values()), work_dir, keys, jobs=jobs)
    tables: dict[str, dict[int, list[Row]]] = {name: {} for name in rows}
    for (name, seed), one in runs.items():
        tables[name][seed] = found[one.name]
    return {name: own for name, own in tables.items() if own}


@dataclass(frozen=True)
class FairTest:
    """A fair test that has run.

    Attributes:
        rows: that were asked for, by name, in the order of the tables.
        keys: of all configurations.
        datalist: of the heads.
        folder: of the runs.
        tables: rows of `per_case.csv` by row of the table and seed.
    """

    rows: Mapping[str, FairRow]
    keys: Mapping[str, Any]
    datalist: Path
    folder: Path
    tables: dict[str, dict[int, list[Row]]]


def run_test(
    setting: Setting,
    options: FairOptions,
    bundle: str,
    rows: Mapping[str, FairRow],
    heads: FairHeads,
    keys: Mapping[str, Any],
    own_data: Callable[[str, Path], Path] | None = None,
) -> FairTest:
    """Make the heads, but those that are there, and train and score the rows that were asked for on them.

    Args:
        setting, options: of the command.
        bundle: name or folder of the bundle.
        rows: all rows of the paper.
        heads: what to make.
        keys: of all configurations; those of the command go first, and a row's own before them.
        own_data: writes the datalist of a row, from its name and the datalist of all heads; None where every
            row takes that one.

    Raises:
        InputError: an unknown row; see `write_fair_heads` and `run_rows`.
    """
    names = among(tuple(rows) if options.rows is None else options.rows, tuple(rows), "rows")
    chosen = {name: row for name, row in rows.items() if name in names}
    datalist = write_fair_heads(setting.work_dir / "data", options.anatomy, heads)
    if own_data is not None:
        for name, row in chosen.items():
            own = {"dataset_dir": own_data(name, datalist).parent}
            chosen[name] = replace(row, keys={**row.keys, **own})
    every = {**keys, "dataset_dir": datalist.parent, "cache_dir": setting.work_dir / "cache", **setting.keys}
    folder = setting.work_dir / "runs"
    tables = run_rows(chosen, bundle, folder, every, setting.jobs, options.finished)
    return FairTest(chosen, every, datalist, folder, tables)


def not_run(rows: Collection[str], tables: Collection[str]) -> str:
    """A sentence that names the rows without a finished run; empty if there are none."""
    left_out = [f"`{name}`" for name in rows if name not in tables]
    return f"Not run here: {', '.join(left_out)}." if left_out else ""


def run_seconds(work_dir: Path, name: str, seed: int) -> dict[str, float]:
    """How long `training` and `evaluating` took, from `run.json`; empty where it does not say so."""
    marker = work_dir / f"{name}_seed_{seed}" / "run" / "run.json"
    return dict(json.loads(marker.read_text()).get("seconds", {})) if marker.is_file() else {}


def mean_of_seeds(seeds: Mapping[int, Sequence[Row]], columns: Sequence[str] = ("dice",)) -> list[Row]:
    """Each case once, with the mean of its scores over the seeds: what paired tests compare.

    Args:
        seeds: rows by seed, of the same cases.
        columns: that are averaged; of the others the first seed's stay. A value that is missing in one seed
            is left out.
    """
    first, *others = [sorted(rows, key=lambda row: str(row["case"])) for rows in seeds.values()]
    merged = []
    for several in zip(first, *others, strict=True):
        values = {
            column: [row[column] for row in several if row.get(column) is not None] for column in columns
        }
        means = {
            column: statistics.fmean(map(float, known)) if known else None for column, known in values.items()
        }
        merged.append({**several[0], **means})
    return merged


def seed_paired_table(
    tables: Runs,
    pairs: Sequence[tuple[str, str]],
    column: str = "dice",
    groups: Sequence[str] = ("all",),
    cases: Collection[str] | None = None,
) -> list[str]:
    """`paired_table` of each pair over the seeds that both have, so that no seed stands against others.

    Args:
        tables: rows by configuration and seed.
        pairs: names of two configurations; those of which one was not run are left out.
        column, groups: see `paired_table`.
        cases: names of those to take; None for all.
    """
    lines: list[str] = []
    for pair in pairs:
        common = sorted(set(tables.get(pair[0], {})) & set(tables.get(pair[1], {})))
        if not common:
            continue
        means = {
            name: [
                row
                for row in mean_of_seeds({seed: tables[name][seed] for seed in common}, (column,))
                if cases is None or row["case"] in cases
            ]
            for name in pair
        }
        head, rule, *tests = paired_table(means, [pair], column, groups)
        extra = [f"{head} seeds |", f"{rule} --- |"] if not lines else []
        lines += [*extra, *(f"{test} {len(common)} |" for test in tests)]
    return lines


def group_mean(column: str = "dice", group: str = "all") -> Callable[[Sequence[Row]], float | None]:
    """Mean of a column over a group of `GROUPS`, as a function of rows; None where the group is empty."""

    def mean(rows: Sequence[Row]) -> float | None:
        values = [float(row[column]) for row in rows if GROUPS[group](row) and row.get(column) is not None]
        return statistics.fmean(values) if values else None

    return mean


def with_sd(seeds: Mapping[int, T], of: Callable[[T], float | None], digits: int = 3) -> str:
    """`mean ± sd` over seeds of a figure of each seed's rows or scores; of one seed the figure alone."""
    values = [value for value in map(of, seeds.values()) if value is not None]
    if not values:
        return "no case"
    text = f"{statistics.fmean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {statistics.stdev(values):.{digits}f}"
