"""`headct correct`: a label map that somebody has corrected, measured, and its report renewed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["correct"]


def correct(
    case: Annotated[Path, typer.Argument(help="A case's folder, of `headct predict`.")],
    mask: Annotated[
        Path, typer.Argument(help="The corrected label map, on the grid of CASE_seg.nii.gz, same values.")
    ],
    scan: Annotated[Path, typer.Option(help="What the case was predicted from, or a folder with it.")],
) -> None:
    """Measure a corrected mask and renew its report.

    Report, label map and DICOM SEG are renewed; the label map of the models stays beside them.
    """
    from headct.predict import correct as run

    renewed = run(case, mask, scan)
    print(f"{renewed.name}: {renewed.verdict}")
    print(renewed.folder / "report.html")
