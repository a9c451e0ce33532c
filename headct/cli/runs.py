"""`headct crossval` and `headct best-epoch`: a bundle trained on every fold, and which checkpoint to take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headct.cli.command import Keys, Scheduler, SchedulerFile, keys, names

__all__ = ["best_epoch", "crossval"]


def crossval(
    bundle: Annotated[str, typer.Argument(help="Name of a folder in `bundles`, or path of a bundle.")],
    folds: Annotated[
        int, typer.Option(help="Number of folds. Those of the datalist are kept if there are as many.")
    ] = 5,
    variant: Annotated[
        str,
        typer.Option(
            help="Overlay in `configs/variants`, or several, separated by commas, each compared with the "
            "first; `default` is the bundle without overlay."
        ),
    ] = "default",
    jobs: Annotated[
        int,
        typer.Option(
            help="Folds at a time, each in a process; with several GPUs each gets its own. 1 needs no extra "
            "[cluster]."
        ),
    ] = 1,
    scheduler: Scheduler = None,
    scheduler_file: SchedulerFile = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for weights, predictions and tables; default: runs/crossval in the bundle."
        ),
    ] = None,
    processes: Annotated[int, typer.Option(help="Of each training; more than one takes as many GPUs.")] = 1,
    seed: Annotated[int, typer.Option(help="Of dealing out the patients or slices.")] = 0,
    by: Annotated[
        str,
        typer.Option(
            help="What folds keep together: patient, slice (scores are then optimistic), or patient,slice "
            "for both side by side."
        ),
    ] = "patient",
    validation: Annotated[
        str,
        typer.Option(
            help="What chooses the epoch: inner, a fifth of the training cases; or scored, the fold that "
            "is scored (scores are then optimistic)."
        ),
    ] = "inner",
    dataset_dir: Annotated[
        Path | None, typer.Option(help="Folder of your data; default: a synthetic set, which is made.")
    ] = None,
    settings: Keys = None,
) -> None:
    """Train and evaluate a bundle on every fold.

    Each fold is a process of its own; then there is one table of all cases, and paired tests of variants.

    What is finished is not done again, and an interrupted training goes on: start the same command again.
    """
    from headct.cohort.workers import Workers
    from headct.runs.crossval import crossval as run

    overrides = keys(settings)
    if dataset_dir is not None:
        overrides["dataset_dir"] = str(dataset_dir.absolute())
    workers = Workers(jobs, scheduler, scheduler_file)
    run(bundle, folds, names(variant), workers, out, processes, seed, names(by), validation, **overrides)


def best_epoch(
    folder: Annotated[
        Path, typer.Argument(help="Of one variant, with fold_0, fold_1 ... as `headct crossval` leaves them.")
    ],
) -> None:
    """The best checkpoint over all folds.

    It is the epoch whose mean of IoU and Dice, in the validation of every fold, is highest.
    """
    from headct.runs.epochs import epochs

    epochs(folder)
