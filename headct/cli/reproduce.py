"""`headct reproduce PAPER`: a command for each paper, with the options that it has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headct.cli.command import Keys, Scheduler, SchedulerFile, keys, names_if
from tools.core.errors import InputError

__all__ = ["abramova2021", "abramova2022", "dunet", "hssayeni2020", "li2021", "li2021_pretrained"]

Size = Annotated[
    bool | None,
    typer.Option(
        "--quick/--full",
        help="Few rows, folds and cases, for a CPU; or everything that the paper compared, for a GPU.",
    ),
]
Fair = Annotated[
    bool,
    typer.Option(
        "--fair",
        help="Instead: the main claims, on heads with the anatomy of real people, for one core of a CPU.",
    ),
]
Anatomy = Annotated[
    Path | None, typer.Option(help="With --fair: folder of label maps of real heads, see docs/phantom.md.")
]
Finished = Annotated[
    bool | None,
    typer.Option("--finished", help="With --fair: only write the page of the runs that are finished."),
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
    quick: Size = None,
    fair: Fair = False,
    rows: Rows = None,
    folds: Folds = None,
    anatomy: Anatomy = None,
    finished: Finished = None,
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
        _size("abramova2021", quick, fair),
        out,
        work_dir,
        (jobs, scheduler, scheduler_file),
        settings,
        rows=names_if(rows),
        folds=folds,
        anatomy=anatomy,
        finished=finished,
    )


def abramova2022(
    fair: Fair = False,
    rows: Rows = None,
    anatomy: Anatomy = None,
    finished: Finished = None,
    out: Out = OUT,
    work_dir: Work = WORK,
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    scheduler_file: SchedulerFile = None,
    settings: Keys = None,
) -> None:
    """Squeeze-and-excitation, depth, normalisation.

    Abramova 2022 (`instance2022` of `se_unet3d`): only with --fair.
    """
    _run(
        "abramova2022", _only_fair("abramova2022", fair), out, work_dir, (jobs, scheduler, scheduler_file),
        settings,
        rows=names_if(rows), anatomy=anatomy, finished=finished,
    )  # fmt: skip


def li2021(
    quick: Size = None,
    fair: Fair = False,
    rows: Rows = None,
    timing: Annotated[
        bool | None, typer.Option(help="Also measure the time per slice (table II); default: yes.")
    ] = None,
    anatomy: Anatomy = None,
    finished: Finished = None,
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
        _size("li2021", quick, fair),
        out,
        work_dir,
        (jobs, scheduler, scheduler_file),
        settings,
        rows=names_if(rows),
        timing=timing,
        anatomy=anatomy,
        finished=finished,
    )


def li2021_pretrained(
    fair: Fair = False,
    rows: Rows = None,
    anatomy: Anatomy = None,
    finished: Finished = None,
    out: Out = OUT,
    work_dir: Work = WORK,
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    scheduler_file: SchedulerFile = None,
    settings: Keys = None,
) -> None:
    """An encoder trained on ImageNet.

    Li 2021 (`unetpp_pretrained`): frozen, trained too, or from scratch, by number of heads; only with --fair.
    """
    _run(
        "li2021-pretrained", _only_fair("li2021-pretrained", fair), out, work_dir,
        (jobs, scheduler, scheduler_file), settings,
        rows=names_if(rows), anatomy=anatomy, finished=finished,
    )  # fmt: skip


def hssayeni2020(
    quick: Size = None,
    fair: Fair = False,
    root: Root = None,
    rows: Rows = None,
    folds: Annotated[int | None, typer.Option(help="Number of folds by patient; default: 5.")] = None,
    only_folds: OnlyFolds = None,
    anatomy: Anatomy = None,
    finished: Finished = None,
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
        "hssayeni2020", _size("hssayeni2020", quick, fair), out, work_dir, (jobs, scheduler, scheduler_file),
        settings,
        root=root, rows=names_if(rows), folds=folds, only_folds=_numbers(only_folds),
        anatomy=anatomy, finished=finished,
    )  # fmt: skip


def dunet(
    quick: Size = None,
    fair: Fair = False,
    root: Root = None,
    rows: Annotated[str | None, typer.Option(help="With --fair: rows to run, separated by commas.")] = None,
    splits: Annotated[
        str | None, typer.Option(help="By slice, by patient, or both; default: slice,patient.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Number of folds; default: 3 with --quick, else 10.")
    ] = None,
    only_folds: OnlyFolds = None,
    anatomy: Anatomy = None,
    finished: Finished = None,
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
        "dunet", _size("dunet", quick, fair), out, work_dir, (jobs, scheduler, scheduler_file), settings,
        root=root, rows=names_if(rows), splits=names_if(splits), folds=folds, only_folds=_numbers(only_folds),
        anatomy=anatomy, finished=finished,
    )  # fmt: skip


def _run(
    paper: str,
    size: str,
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

    reproduce(paper, size, out, work_dir, Workers(*workers), overrides, **options)


def _size(paper: str, quick: bool | None, fair: bool) -> str:
    """The one size that was chosen."""
    sizes = [name for name, chosen in (("quick", quick), ("fair", fair), ("full", quick is False)) if chosen]
    if len(sizes) != 1:
        found = "none" if not sizes else " and ".join(f"--{size}" for size in sizes)
        raise InputError(
            f"`headct reproduce {paper}`: expected one of --quick, --fair and --full, found {found}"
        )
    return sizes[0]


def _only_fair(paper: str, fair: bool) -> str:
    """The one size of a paper that has no other."""
    if not fair:
        raise InputError(f"`headct reproduce {paper}`: expected --fair, found no size")
    return "fair"


def _numbers(text: str | None) -> list[int] | None:
    parts = names_if(text)
    if parts is None:
        return None
    if not all(part.isdigit() for part in parts):
        raise InputError(f"--only-folds: expected numbers separated by commas, found {text!r}")
    return [int(part) for part in parts]
