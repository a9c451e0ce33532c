"""The report as one HTML file that needs nothing else: verdict first, then slices, then tables."""

from __future__ import annotations

import json
from html import escape

from tools.predict.page_parts import SCRIPT, STYLE
from tools.predict.pictures import COLOURS, View, data_url, midline_text
from tools.predict.results import Case, Lesion, Model

__all__ = ["report_page"]


def report_page(case: Case, view: View, picture: bytes) -> str:
    """The report.

    Args:
        case: what was measured.
        view: the slices.
        picture: PNG of the one-page report, for browsers without scripts.
    """
    parts = [
        _verdict(case),
        _warnings(case),
        _viewer(view, picture),
        _lesions(case),
        _scan(case),
        _models(case),
        _notes(case),
    ]
    title = escape(f"{case.verdict} - {case.name}")
    data = json.dumps(_viewer_data(view)).replace("</", "<\\/")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + f"\n</main>\n<script>const DATA = {data};\n{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _verdict(case: Case) -> str:
    kinds: dict[str, float] = {}
    for lesion in case.lesions:
        kinds[lesion.kind] = kinds.get(lesion.kind, 0.0) + lesion.volume_ml
    lines = []
    if len(kinds) > 1:
        lines.append(", ".join(f"{escape(kind)} {ml:.1f} mL" for kind, ml in kinds.items()))
    if case.small_lesions:
        word = "spot" if case.small_lesions == 1 else "spots"
        lines.append(
            f"{case.small_lesions} {word} below {case.min_ml:g} mL, {case.small_ml:.2f} mL "
            f"together, not counted"
        )
    doubts = [model.uncertainty for model in case.models if model.uncertainty]
    if doubts and (case.hemorrhage or any(doubt.volume_range_ml[1] >= case.min_ml for doubt in doubts)):
        low = min(doubt.volume_range_ml[0] for doubt in doubts)
        high = max(doubt.volume_range_ml[1] for doubt in doubts)
        if high - low > 0.05:
            lines.append(f"Between {low:.1f} and {high:.1f} mL, as far as the predictions compared agree")
    if not case.hemorrhage:
        lines.append("This does not rule out bleeding")
    for model in case.models:
        lines.append(escape(f"{model.bundle} looks for {model.segments}; trained on: {model.trained_on}"))
    kind = "found" if case.hemorrhage else "clear"
    names = escape(case.name)
    identity = "".join(
        f"<span>{escape(key)}: {escape(value)}</span> " for key, value in case.identifiers.items()
    )
    return (
        f'<header class="{kind}"><p class="case">Head CT <b>{names}</b> {identity}</p>'
        f"<h1>{escape(case.verdict)}</h1>"
        + "".join(f"<p>{line}.</p>" for line in lines)
        + '<p class="only">Research use only, not a medical device. Not for diagnosis or '
        "treatment.</p></header>"
    )


def _warnings(case: Case) -> str:
    if not case.warnings:
        return '<section class="fine"><p>No warnings about the quality of the scan.</p></section>'
    items = "".join(f"<li>{escape(text)}</li>" for text in case.warnings)
    return f'<section class="warn"><h2>Read with care</h2><ul>{items}</ul></section>'


def _viewer(view: View, picture: bytes) -> str:
    width, height = view.size
    toggles = "".join(
        f'<label><input type="checkbox" data-layer="{escape(name)}" checked>'
        f'<i style="background:{colour}"></i>{escape(name)}</label>'
        for name, colour in zip(view.outlines, COLOURS, strict=False)
    )
    if view.doubt is not None:
        toggles += (
            '<label><input type="checkbox" id="doubt"><i style="background:#ba55ff"></i>uncertainty</label>'
        )
    count = len(view.jpegs)
    return (
        '<section class="viewer"><div class="frame">'
        f'<svg id="view" viewBox="0 0 {width} {height}" role="img" aria-label="CT slice with '
        f'outlines" tabindex="0">'
        f'<image id="slice" width="{width}" height="{height}" preserveAspectRatio="none"/>'
        f'<image id="fog" width="{width}" height="{height}" preserveAspectRatio="none"/>'
        '<g id="lines"></g></svg>'
        '<b class="mark r">R</b><b class="mark l">L</b><span id="where"></span></div>'
        '<svg id="areas" preserveAspectRatio="none" viewBox="0 0 100 20" aria-hidden="true"></svg>'
        f'<input type="range" id="slider" min="1" max="{count}" value="{view.start + 1}" aria-label="slice">'
        f'<div class="layers">{toggles}</div>'
        '<p class="hint">Brain window, 0 to 80 HU. Drag the slider, scroll or swipe over the picture, or '
        "use the arrow keys; bars show where the finding lies, bottom to top. The patient's right is on "
        "the left.</p>"
        f'<noscript><img src="{data_url(picture, "png")}" alt="Slices with outlines"></noscript></section>'
    )


def _viewer_data(view: View) -> dict[str, object]:
    return {
        "slices": [data_url(jpeg, "jpeg") for jpeg in view.jpegs],
        "outlines": view.outlines,
        "colours": dict(zip(view.outlines, COLOURS, strict=False)),
        "doubt": None if view.doubt is None else [data_url(png, "png") for png in view.doubt],
        "areas": [round(area, 2) for area in view.area_cm2],
    }


def _lesions(case: Case) -> str:
    if not case.lesions:
        return ""
    several = len({lesion.kind for lesion in case.lesions}) > 1
    head = ["", "mL", "ABC/2 mL", "largest mm", "mean HU", "side", "depth mm", "slices", "centre x, y, z mm"]
    head += ["type"] if several else []
    rows = "".join(_lesion_row(lesion, several) for lesion in case.lesions)
    total = ""
    if len(case.lesions) > 1:
        total = (
            f"<tr><th>all</th><td>{case.volume_ml:.1f}</td><td>{case.abc_half_ml:.1f}</td>"
            + "<td></td>" * (len(head) - 3)
        )
    cells = "".join(f"<th>{text}</th>" for text in head)
    return (
        '<section><h2>Lesions</h2><div class="wide"><table id="lesions">'
        f"<thead><tr>{cells}</tr></thead><tbody>{rows}{total}</tbody></table></div>"
        '<p class="hint">Tap a row to see its slices. Largest: longest diameter on an axial slice. Side: '
        "by the head's symmetry plane; midline if a quarter or more lies on either side. Depth: from the "
        "inner table of the skull to the nearest part of the lesion. Centre: scanner coordinates, right, "
        "front and up positive.</p></section>"
    )


def _lesion_row(lesion: Lesion, several: bool) -> str:
    first, last = lesion.slices
    depth = "-" if lesion.depth_mm is None else f"{lesion.depth_mm:.0f}"
    cells = [
        f"{lesion.volume_ml:.1f}" if lesion.volume_ml >= 1 else f"{lesion.volume_ml:.2f}",
        f"{lesion.abc_half_ml:.1f}" if lesion.abc_half_ml >= 1 else f"{lesion.abc_half_ml:.2f}",
        f"{lesion.diameter_mm:.0f}",
        f"{lesion.mean_hu:.0f}",
        lesion.side or "-",
        depth,
        f"{first}-{last}",
        ", ".join(f"{c:.0f}" for c in lesion.centroid_mm),
    ]
    cells += [lesion.kind] if several else []
    row = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr data-slice="{(first + last) // 2}" tabindex="0"><th>{lesion.number}</th>{row}</tr>'


def _scan(case: Case) -> str:
    facts = {"midline shift": midline_text(case.midline), **case.scan}
    rows = "".join(f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in facts.items())
    return (
        f"<section><h2>Scan</h2><dl>{rows}</dl>"
        '<p class="hint">Midline shift: the largest distance, at the level of the ventricles, between the'
        " skull's symmetry plane and the line about which the brain beside it is most symmetric; blood is"
        " left out. An estimate: on synthetic heads 1 mm off on average and 5 mm at worst.</p></section>"
    )


def _models(case: Case) -> str:
    parts = [_model(model) for model in case.models]
    rule = f"<p>Consensus: {escape(case.consensus)}.</p>" if case.consensus else ""
    return f"<section><h2>{'Models' if len(parts) > 1 else 'Model'}</h2>{rule}{''.join(parts)}</section>"


def _model(model: Model) -> str:
    facts = {
        "found": ", ".join(f"{name} {ml:.1f} mL" for name, ml in model.class_volumes_ml.items()),
        "looks for": model.segments,
        "trained on": model.trained_on,
        "intended use": model.intended_use,
        "paper": "; ".join(model.references),
        "weights": ", ".join(
            f"{name}, sha256 {digest}" for name, digest in zip(model.weights, model.sha256, strict=True)
        ),
    }
    if model.uncertainty:
        low, high = model.uncertainty.volume_range_ml
        facts["uncertainty"] = (
            f"{model.uncertainty.method}: standard deviation of the probability "
            f"{model.uncertainty.mean_deviation:.3f} on average where either finds hemorrhage (0 agree, 0.5 "
            f"contradict); {low:.1f} to {high:.1f} mL"
        )
    rows = "".join(f"<dt>{key}</dt><dd>{escape(value)}</dd>" for key, value in facts.items() if value)
    return (
        f"<h3>{escape(model.bundle)} {escape(model.version)}</h3><p>{escape(model.title)}</p><dl>{rows}</dl>"
    )


def _notes(case: Case) -> str:
    files = ", ".join(f"<code>{escape(name)}</code>" for name in case.files.values())
    return f"<footer><p>Files: {files}.</p><p>Made by hemorrhage-ct-bundles. Research use only.</p></footer>"
