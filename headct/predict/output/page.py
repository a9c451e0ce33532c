"""The report as one HTML file that needs nothing else: verdict first, then pictures, then tables."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image

from headct.predict.output.pictures import midline_text
from headct.predict.output.templates import asset, render
from headct.predict.output.view import AUTOMATIC, LEVELS, SINGLE, View, grey_levels, packed
from headct.predict.results import Case
from tools.core.windows import BRAIN_WINDOW, DisplayWindow

__all__ = ["WINDOWS", "report_page"]

#: What a reader of a head CT changes between, the first at the start.
WINDOWS = {
    "brain": BRAIN_WINDOW,
    "subdural": DisplayWindow(75.0, 200.0),
    "stroke": DisplayWindow(40.0, 40.0),
    "bone": DisplayWindow(600.0, 2800.0),
}


@dataclass
class _Plane:
    name: str
    count: int
    letters: dict[str, str]


def report_page(case: Case, view: View, picture: bytes) -> str:
    """The report.

    Args:
        case: what was measured.
        view: the pictures.
        picture: PNG of the one-page report, for browsers without scripts.
    """
    depth, rows, columns = view.codes.shape
    planes = [
        _Plane("axial", depth, {"left": "R", "right": "L", "top": "A", "bottom": "P"}),
        _Plane("coronal", rows, {"left": "R", "right": "L", "top": "S", "bottom": "I"}),
        _Plane("sagittal", columns, {"left": "A", "right": "P", "top": "S", "bottom": "I"}),
    ]
    most = max(*view.area_cm2, 1e-6)
    return render(
        "report.html.j2",
        asset("report.js"),
        case=case,
        view=view,
        planes=planes,
        windows=[{"name": name, **window._asdict()} for name, window in WINDOWS.items()],
        areas=[round(max(2.0, 20 * area / most), 1) if area else 0.6 for area in view.area_cm2],
        layer_ml=_layer_ml(case, view),
        types=len(case.types_ml),
        prior_rows=_prior_rows(case),
        remarks=_remarks(case),
        midline=midline_text(case.midline),
        still=_still(picture),
        viewer=case.files.get("viewer", ""),
        data=_data(view),
    )


def _data(view: View) -> dict[str, object]:
    """What the page's script draws from."""
    return {
        "shape": view.codes.shape,
        "pixel": view.pixel_mm,
        "slice": view.slice_mm,
        "start": view.start,
        "count": view.count,
        "names": [view.slice_name(i) for i in range(len(view.codes))],
        "areas": [round(area, 2) for area in view.area_cm2],
        "codes": packed(view.codes),
        "windows": [base64.b64encode(grey_levels(w.hu).tobytes()).decode() for w in WINDOWS.values()],
        "layers": [{"colour": layer.colour, "bits": packed(layer.mask)} for layer in view.layers],
        "overlays": [{"colour": o.colour, "values": packed(o.values)} for o in view.overlays],
        "levels": LEVELS,
    }


def _still(picture: bytes) -> str:
    """A PNG as the address of a JPEG, which is smaller."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").save(buffer, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _layer_ml(case: Case, view: View) -> dict[str, float]:
    """Volumes that stand in the legend, by the name of the layer."""
    volumes = {name: case.volume_ml for name in SINGLE}
    volumes |= {model.bundle: model.volume_ml for model in case.models} | case.types_ml
    if case.corrected is not None:
        volumes[AUTOMATIC] = case.corrected.automatic_ml
    return {layer.name: volumes.get(layer.name, 0.0) for layer in view.layers}


def _prior_rows(case: Case) -> list[tuple[str, float, float]]:
    """Name, mL then, mL now: of all, and of each type where there are several."""
    if case.prior is None:
        return []
    rows = [("all", case.prior.volume_ml, case.volume_ml)]
    if len(case.prior.types_ml) > 1:
        rows += [(name, then, now) for name, (then, now) in case.prior.types_ml.items()]
    return rows


def _remarks(case: Case) -> list[str]:
    """Sentences below the verdict, without their full stop."""
    lines = []
    types = case.types_ml
    if len(types) > 1:
        lines.append(", ".join(f"{kind} {ml:.1f} mL" for kind, ml in types.items()))
    if case.small_lesions:
        word = "spot" if case.small_lesions == 1 else "spots"
        lines.append(
            f"{case.small_lesions} {word} below {case.min_ml:g} mL, {case.small_ml:.2f} mL "
            f"together, not counted"
        )
    doubts = [model.uncertainty for model in case.models if model.uncertainty]
    seen = case.hemorrhage or any(doubt.volume_range_ml[1] >= case.min_ml for doubt in doubts)
    if doubts and seen and case.corrected is None:
        low = min(doubt.volume_range_ml[0] for doubt in doubts)
        high = max(doubt.volume_range_ml[1] for doubt in doubts)
        if high - low > 0.05:
            lines.append(f"Between {low:.1f} and {high:.1f} mL, as far as the predictions compared agree")
    if not case.hemorrhage:
        lines.append("This does not rule out bleeding")
    return lines + [
        f"{model.bundle} looks for {model.segments}; trained on: {model.trained_on}" for model in case.models
    ]
