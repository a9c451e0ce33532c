"""`headct datasets`: public data sets, what they are and how your copy becomes a datalist."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from headct.cli.command import Progress, names_if

__all__ = ["export", "list_datasets", "prepare"]


def list_datasets() -> None:
    """What there is, its licence, how to get it.

    Nothing is downloaded.
    """
    from headct.datasets.catalogue import datasets

    print(datasets())


def prepare(
    dataset: Annotated[
        Literal[
            "ct_ich_v1",
            "ct_ich_v131",
            "instance2022",
            "bhsd",
            "mbhseg2025",
            "hemorica",
            "hemseg200",
            "rsna2019",
            "cq500",
            "folder",
            "decathlon",
            "nnunet",
            "bids",
        ],
        typer.Argument(help="Which one; `headct datasets list` says what each is."),
    ],
    root: Annotated[Path, typer.Option(help="Its folder; nothing in it is changed.")],
    out: Annotated[Path, typer.Option(help="Datalist to write, a file that ends in .json.")] = Path(
        "datalist.json"
    ),
    folds: Annotated[
        int | None,
        typer.Option(help="Number of folds; 0 for none. Default: those that the set has, else 5."),
    ] = None,
    by: Annotated[
        Literal["patient", "slice"],
        typer.Option(help="What folds keep together. Splits by slice make scores optimistic."),
    ] = "patient",
    test: Annotated[float, typer.Option(help="Share to set aside under `testing`.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the split and of --balance.")] = 0,
    slices: Annotated[
        bool, typer.Option("--slices", help="One entry per slice instead of per volume, for 2D networks.")
    ] = False,
    balance: Annotated[
        bool, typer.Option("--balance", help="Keep as many slices without hemorrhage as have one.")
    ] = False,
    types: Annotated[
        str | None,
        typer.Option(help="Types that make up the label, separated by commas: edh, iph, ivh, sah, sdh."),
    ] = None,
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LEVEL WIDTH", help="Of 8-bit pictures, in HU; for `folder`."),
    ] = None,
    patient_from: Annotated[
        str | None,
        typer.Option(
            help="Regular expression whose first group is the patient in a file name; for `folder`, "
            "`decathlon`, `nnunet` and `hemorica`."
        ),
    ] = None,
    skip: Annotated[
        str | None, typer.Option(help="Cases or patients to leave out, separated by commas.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="What the masks' values are, as ICH=iph,PHE=background or 1=iph,2=ivh, where no known name "
            "says it."
        ),
    ] = None,
    rater: Annotated[
        str | None,
        typer.Option(help="Whose masks to take where several people drew them: a name, or consensus."),
    ] = None,
    on_mismatch: Annotated[
        Literal["error", "warn", "resample"],
        typer.Option(help="A mask on another grid than its image: refuse it, take it as it is, move it."),
    ] = "error",
    strict: Annotated[
        bool, typer.Option("--strict", help="Accept nothing missing, contradictory or unexpected.")
    ] = False,
    progress: Progress = True,
) -> None:
    """Check a data set, and write its datalist.

    Your files are not changed.
    """
    from headct.datasets import prepare as run

    report = run(
        dataset, root, out, folds, by, test, seed, slices, balance, types=types, window=window,
        patient_from=patient_from, skip=names_if(skip), strict=strict, labels=labels,
        rater=rater, on_mismatch=on_mismatch, progress=progress,
    )  # fmt: skip
    print(report)


def export(
    form: Annotated[Literal["nnunet"], typer.Argument(help="What to write: raw data of nnU-Net v2.")],
    datalist: Annotated[Path, typer.Option(help="Datalist of NIfTI volumes, as `prepare` writes it.")],
    out: Annotated[Path, typer.Option(help="Folder that nnU-Net calls nnUNet_raw.")],
    number: Annotated[int, typer.Option(help="Number of the data set, 1 to 999.")] = 501,
    name: Annotated[str, typer.Option(help="Name of the data set.")] = "Hemorrhage",
    types: Annotated[
        bool, typer.Option("--types", help="Labels of the five types instead of hemorrhage alone.")
    ] = False,
) -> None:
    """Write a datalist as another tool reads it.

    With the same cases, masks and folds.
    """
    from headct.datasets.export import export_nnunet

    folder = export_nnunet(datalist, out, number, name, types)
    print(f"{folder}: splits_final.json holds the folds; copy it to nnUNet_preprocessed/{folder.name}/")
