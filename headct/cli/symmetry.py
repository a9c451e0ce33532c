"""`headct symmetry`: the mid-sagittal plane of one scan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["symmetry"]


def symmetry(
    scan: Annotated[Path, typer.Argument(help="NIfTI file or DICOM folder.")],
    picture: Annotated[Path | None, typer.Option(help="PNG of the plane on some slices.")] = None,
    map: Annotated[
        Path | None, typer.Option(help="NIfTI file of the mirrored volume, to lay over the scan.")
    ] = None,
) -> None:
    """The plane between the halves of a head."""
    from headct.symmetry import symmetry as run

    run(scan, picture, map)
