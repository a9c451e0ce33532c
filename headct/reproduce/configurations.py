"""Rows of a paper's table as runs of a bundle: trained and evaluated, finished ones kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headct.cohort.workers import Workers
from headct.runs.bundle_run import BundleRun, run_all
from headct.runs.crossval import fold_runs
from headct.runs.find_bundle import config_files, find_bundle
from tools.core.tables import Row, write_csv

__all__ = ["Configuration", "run_configurations"]


@dataclass(frozen=True)
class Configuration:
    """One row of a paper's table.

    Args:
        name: as the page calls it; also its folder, so without slashes.
        bundle: name or folder of the bundle.
        overlays: names in its `configs/variants`, in order.
        overrides: further keys of its configuration.
    """

    name: str
    bundle: str
    overlays: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def run_in(self, work_dir: Path, overrides: Mapping[str, Any] | None = None) -> BundleRun:
        """The one run of it without folds, in `WORK_DIR/NAME/run`; see `run_configurations`."""
        folder = find_bundle(self.bundle, "configs/train.yaml")
        keys = {**(overrides or {}), **self.overrides}
        return BundleRun(
            folder, config_files(folder, self.overlays), work_dir / self.name / "run", self.name, keys
        )


def run_configurations(
    configurations: Sequence[Configuration],
    work_dir: str | Path,
    overrides: Mapping[str, Any] | None = None,
    folds: int | None = None,
    only_folds: Sequence[int] | None = None,
    jobs: int | Workers = 1,
    seed: int = 0,
) -> dict[str, list[Row]]:
    """Train and evaluate every configuration on the same data; the cases of each, sorted by name.

    Args:
        configurations: rows of the table; all must score the same cases, so that they can be paired.
        work_dir: folder of the results, one folder for each configuration. What is finished there with the
            same parameters is not done again.
        overrides: keys for all configurations (`dataset_dir`, `max_epochs` ...); its own go first.
        folds: of a cross-validation by patient over the training cases (test cases are left out), dealt
            out as `headct.runs.crossval` does. None: one training, evaluated on the test cases.
        only_folds: numbers of the folds to run, if not all; the cases of the others are not scored.
        jobs: runs at a time, or where they run.
        seed: of dealing out the patients.

    Returns:
        for each configuration the rows of its `per_case.csv`, with a column `fold` in a cross-validation.
        The same is written to `work_dir/NAME/per_case.csv`.
    """
    root = Path(work_dir).resolve()
    runs: dict[str, dict[int | None, BundleRun]] = {}
    for one in configurations:
        run = one.run_in(root, overrides)
        if folds is None:
            runs[one.name] = {None: run}
            continue
        every = fold_runs(run.bundle, run.files, root / one.name, folds, seed, 1, run.overrides, one.name)
        chosen = range(folds) if only_folds is None else only_folds
        runs[one.name] = {fold: every[fold] for fold in chosen}
    run_all([run for own in runs.values() for run in own.values()], jobs)
    tables = {}
    for name, own in runs.items():
        rows = [
            row if fold is None else {"case": row["case"], "fold": fold, **row}
            for fold, run in own.items()
            for row in run.rows()
        ]
        tables[name] = sorted(rows, key=lambda row: str(row["case"]))
        write_csv(root / name / "per_case.csv", tables[name])
    return tables
