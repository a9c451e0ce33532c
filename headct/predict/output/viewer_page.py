"""The scan and its label map in NiiVue, as one HTML file: slices in any direction, and 3D."""

from __future__ import annotations

import base64
import gzip
import re
from functools import cache

import numpy as np
from PIL import ImageColor

from headct.predict.findings.measure import Measured
from headct.predict.output.page import WINDOWS
from headct.predict.output.templates import FOLDER, asset, render
from headct.predict.output.view import colours_of
from tools.core.files import nifti_bytes

__all__ = ["viewer_page"]


def viewer_page(measured: Measured) -> str:
    """A page as large as the scan; the report itself stays small.

    NiiVue reads what the page holds: the page's policy lets no other request pass.
    """
    case = measured.case
    colours = [(0, 0, 0), *(ImageColor.getrgb(colour)[:3] for colour in colours_of(case.classes).values())]
    label = np.zeros_like(measured.final)
    for number, value in enumerate(case.classes, start=1):  # one after the other, as NiiVue counts colours
        label[measured.final == value] = number
    hu = measured.hu.round().clip(-1024, 3071).astype(np.int16)
    centre = case.lesions[0].centroid_mm if case.lesions else _middle(measured)
    return render(
        "viewer.html.j2",
        f"{_niivue()}\n{asset('viewer.js')}",
        sources="img-src data: blob:; connect-src data: blob:",
        case=case,
        windows=[{"name": name, "hu": window.hu} for name, window in WINDOWS.items()],
        version=_version(),
        data={
            "ct": base64.b64encode(nifti_bytes(hu, measured.affine)).decode(),
            "label": base64.b64encode(nifti_bytes(label, measured.affine)).decode(),
            "window": WINDOWS["brain"].hu,
            "at": centre,
            "colours": {
                "R": [c[0] for c in colours],
                "G": [c[1] for c in colours],
                "B": [c[2] for c in colours],
                "labels": ["", *case.classes.values()],
            },
        },
    )


def _middle(measured: Measured) -> list[float]:
    """Of the scan, in mm."""
    index = [(n - 1) / 2 for n in measured.hu.shape]
    return [float(mm) for mm in (measured.affine @ [*index, 1.0])[:3]]


@cache
def _niivue() -> str:
    return gzip.decompress((FOLDER / "niivue" / "niivue.umd.js.gz").read_bytes()).decode()


def _version() -> str:
    found = re.search(r"NiiVue ([\d.]+)", asset("niivue/README.md"))
    return found[1].rstrip(".") if found else ""
