"""`headct phantom`: a synthetic data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from headct.cli.command import Jobs, Scheduler, SchedulerFile, names_if

__all__ = ["phantom"]


def phantom(
    out: Annotated[Path, typer.Option(help="Folder to write to; complete cases in it are kept.")],
    cases: Annotated[int, typer.Option(help="Number of training cases.")] = 12,
    test_cases: Annotated[int, typer.Option(help="Number of further cases, listed under `testing`.")] = 0,
    folds: Annotated[int, typer.Option(help="Number of folds that the training cases are dealt to.")] = 5,
    kind: Annotated[
        str,
        typer.Option(
            help="iph_ivh, any, normal, a type (edh, iph, ivh, sah, sdh), or types joined by +.",
        ),
    ] = "iph_ivh",
    lesion: Annotated[
        str | None,
        typer.Option(
            help="Types of the binary label, separated by commas; default: iph of iph_ivh, else all."
        ),
    ] = None,
    shape: Annotated[tuple[int, int, int], typer.Option(help="Voxels along right, anterior, superior.")] = (
        256,
        256,
        32,
    ),
    spacing: Annotated[
        tuple[float, float, float], typer.Option(help="Size of a voxel in mm along the same axes.")
    ] = (0.9, 0.9, 5.0),
    tilt: Annotated[float, typer.Option(help="Gantry tilt in degrees, -30 to 30.")] = 0.0,
    background: Annotated[
        Path | None,
        typer.Option(
            help="A real scan without blood to put blood into, NIfTI or DICOM; needs label maps of --anatomy."
        ),
    ] = None,
    thickness: Annotated[
        float | None, typer.Option(help="mm of a slice; default: the distance between slices.")
    ] = None,
    layout: Annotated[
        Literal["nifti", "ct_ich_v1"],
        typer.Option(help="NIfTI volumes, or the 8-bit JPEG slices of CT-ICH 1.0.0."),
    ] = "nifti",
    anatomy: Annotated[
        str, typer.Option(help="`procedural`, or a folder of label maps of real heads.")
    ] = "procedural",
    maps: Annotated[
        str | None,
        typer.Option(help="Names of the maps to use, separated by commas; default: all in the folder."),
    ] = None,
    per_person: Annotated[
        int, typer.Option(help="How many cases in a row show the same person, with --anatomy.")
    ] = 1,
    appearance: Annotated[
        Literal["natural", "wide"],
        typer.Option(help="As scanners show heads, or contrast, noise and blur beyond that."),
    ] = "natural",
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    device: Annotated[str, typer.Option(help="Where cases are made, such as cpu or cuda:0.")] = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make every case again.")] = False,
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    scheduler_file: SchedulerFile = None,
) -> None:
    """Write a synthetic head CT data set."""
    from headct.cohort.phantoms import write_phantoms_on
    from headct.cohort.workers import Workers

    written = write_phantoms_on(
        Workers(jobs, scheduler, scheduler_file), out, device, cases=cases, seed=seed, shape=shape,
        spacing=spacing, kind=kind, folds=folds, test_cases=test_cases, lesion=names_if(lesion),
        layout=layout, overwrite=overwrite, tilt=tilt, anatomy=anatomy, maps=names_if(maps),
        per_person=per_person, appearance=appearance, background=background, thickness=thickness,
    )  # fmt: skip
    print(written)
