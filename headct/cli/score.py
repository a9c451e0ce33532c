"""`headct score`: label maps scored, runs compared, scores by patient."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from headct.cli.command import Progress, names, names_if
from tools.core.errors import InputError

__all__ = ["compare", "folder", "subgroups"]


def folder(
    pred: Annotated[
        Path,
        typer.Argument(
            help="Folder of predicted label maps (.nii.gz, .nii, .nrrd, .mha, .png). Zero is background."
        ),
    ],
    truth: Annotated[
        Path, typer.Argument(help="Folder of label maps with the same names, or a datalist (.json).")
    ],
    rules: Annotated[
        Literal["instance2022", "li2021", "hssayeni2020", "abramova2021", "mbhseg2025"] | None,
        typer.Option(help="What to report, as in one paper; default: all but the challenge's distances."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for tables and plots; default: none.")] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Score the pairs there are, instead of refusing.")
    ] = False,
    classes: Annotated[
        str | None,
        typer.Option(help="Names of the values 1, 2, ..., as edh,iph; or of some of them, as 3=ivh,5=sdh."),
    ] = None,
    plots: Annotated[bool, typer.Option(help="Also write PNG files.")] = True,
    on_mismatch: Annotated[
        Literal["error", "warn", "resample"],
        typer.Option(help="A prediction on another grid: refuse it, take it as it is, move it."),
    ] = "error",
    progress: Progress = True,
) -> None:
    """Score label maps against the truth.

    Those of any other tool, too.
    """
    from headct.scores.score import score

    print(score(pred, truth, rules, out, allow_missing, _classes(classes), plots, on_mismatch, progress))


def compare(
    first: Annotated[Path, typer.Argument(help="`per_case.csv` of one run.")],
    second: Annotated[Path, typer.Argument(help="`per_case.csv` of another, on the same cases.")],
    columns: Annotated[
        str, typer.Option(help="Metrics to compare, separated by commas.")
    ] = "dice,iou,precision,recall",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Compare the cases that both have, instead of refusing.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="CSV file to write.")] = None,
) -> None:
    """Paired tests between two runs.

    The t-test and Wilcoxon's, corrected for their number (Holm).
    """
    from headct.scores.compare import compare_files
    from tools.core.markdown import records

    print("\n".join(records(compare_files(first, second, names(columns), allow_missing, out))))


def subgroups(
    scores: Annotated[Path, typer.Argument(help="`slice_metrics/per_case.csv` of an evaluation.")],
    datalist: Annotated[
        Path | None, typer.Option(help="Datalist of `headct datasets prepare`, which knows the ages.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the tables; default: where the scores lie.")
    ] = None,
) -> None:
    """Scores by patient, hemorrhage type and age."""
    from headct.scores.subgroups import subgroups as run

    run(scores, datalist, out)


def _classes(text: str | None) -> dict[int, str] | list[str] | None:
    """Names of class values: a list of all, or of some by their value."""
    parts = names_if(text)
    if parts is None or not any("=" in part for part in parts):
        return parts
    found = {}
    for part in parts:
        value, _, name = part.partition("=")
        if not value.strip().isdigit() or not name.strip():
            raise InputError(f"--classes: expected VALUE=NAME, such as 3=ivh, found {part!r}")
        found[int(value)] = name.strip()
    return found
