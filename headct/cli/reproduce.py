"""`headct reproduce PAPER`: a command for each paper, with the options that it has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headct.cli.command import Keys, Scheduler, SchedulerFile, keys, names, names_if
from tools.core.errors import InputError

__all__ = ["abramova2021", "dunet", "hssayeni2020", "li2021"]

Size = Annotated[
    bool,
    typer.Option(
        "--quick/--full",
        help="Few rows, folds and cases, for a CPU; or everything that the paper compared, for a GPU.",
    ),
]
Out = Annotated[Path, typer.Option(help="Folder of the page.")]
Work = Annotated[Path, typer.Option(help="Folder for data, weights and scores; about a gigabyte.")]
Jobs = Annotated[
    int,
    typer.Option(help="Runs at a time, each in a process; with several GPUs each gets its own."),
]
Root = Annotated[
    Path | None, typer.Option(help="Your copy of CT-ICH 1.0.0; default: phantoms in its layout.")
]
Rows = Annotated[str | None, typer.Option(help="Rows of the tables to run, separated by commas.")]
Folds = Annotated[int | None, typer.Option(help="Number of folds; default: 2 with --quick, else 5.")]
OnlyFolds = Annotated[
    str | None,
    typer.Option(
        help="Numbers of the folds to test on, separated by commas; default: the quick or full selection."
    ),
]
OUT, WORK = Path("docs/results"), Path("runs/reproduce")


def abramova2021(
    quick: Size,
    rows: Rows = None,
    folds: Folds = None,
    out: Out = OUT,
    work_dir: Work = WORK,
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    scheduler_file: SchedulerFile = None,
    settings: Keys = None,
) -> None:
    """Where patches come from, mirrored brain.

    Abramova 2021 (`se_unet3d`): also its loss, patch size, augmentation and squeeze-and-excitation.
    """
    _run(
        "abramova2021",
        quick,
        out,
        work_dir,
        (jobs, scheduler, scheduler_file),
        settings,
        rows=names_if(rows),
        folds=folds,
    )


def li2021(
    quick: Size,
    rows: Rows = None,
    timing: Annotated[bool, typer.Option(help="Also measure the time per slice (table II).")] = True,
    out: Out = OUT,
    work_dir: Work = WORK,
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    scheduler_file: SchedulerFile = None,
    settings: Keys = None,
) -> None:
    """Location accuracy of 2D networks.

    Li 2021 (`gan_unet2d`, `unetpp_pretrained`): also their time per slice.
    """
    _run(
        "li2021",
        quick,
        out,
        work_dir,
        (jobs, scheduler, scheduler_file),
        settings,
        rows=names_if(rows),
        timing=timing,
    )


def hssayeni2020(
    quick: Size,
    root: Root = None,
    rows: Rows = None,
    folds: Annotated[int, typer.Option(help="Number of folds by patient.")] = 5,
    only_folds: OnlyFolds = None,
    out: Out = OUT,
    work_dir: Work = WORK,
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    scheduler_file: SchedulerFile = None,
    settings: Keys = None,
) -> None:
    """Threshold, whole slices, windows.

    Hssayeni 2020 (`dunet`): scores by patient, type of hemorrhage and age.
    """
    _run(
        "hssayeni2020", quick, out, work_dir, (jobs, scheduler, scheduler_file), settings,
        root=root, rows=names_if(rows), folds=folds, only_folds=_numbers(only_folds),
    )  # fmt: skip


def dunet(
    quick: Size,
    root: Root = None,
    splits: Annotated[str, typer.Option(help="By slice, by patient, or both.")] = "slice,patient",
    folds: Annotated[
        int | None, typer.Option(help="Number of folds; default: 3 with --quick, else 10.")
    ] = None,
    only_folds: OnlyFolds = None,
    out: Out = OUT,
    work_dir: Work = WORK,
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    scheduler_file: SchedulerFile = None,
    settings: Keys = None,
) -> None:
    """D-Unet against U-Net.

    Both of the bundle `dunet`: the choice of an epoch, and the held-out test.
    """
    _run(
        "dunet", quick, out, work_dir, (jobs, scheduler, scheduler_file), settings,
        root=root, splits=names(splits), folds=folds, only_folds=_numbers(only_folds),
    )  # fmt: skip


def _run(
    paper: str,
    quick: bool,
    out: Path,
    work_dir: Path,
    workers: tuple[int, str | None, Path | None],
    settings: list[str] | None,
    **options: Any,
) -> None:
    """Write the page; the options that were given are in its command."""
    overrides = keys(settings)
    from headct.cohort.workers import Workers
    from headct.reproduce import reproduce

    reproduce(paper, quick, out, work_dir, Workers(*workers), overrides, **options)


def _numbers(text: str | None) -> list[int] | None:
    parts = names_if(text)
    if parts is None:
        return None
    if not all(part.isdigit() for part in parts):
        raise InputError(f"--only-folds: expected numbers separated by commas, found {text!r}")
    return [int(part) for part in parts]
