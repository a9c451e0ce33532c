"""The report on one page as a picture: verdict, lesions, slices with outlines."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from headct.predict.output.view import View, grey_levels
from headct.predict.results import Case, Midline
from tools.core.windows import BRAIN_WINDOW

__all__ = ["midline_text", "report_picture"]


def report_picture(case: Case, view: View) -> bytes:
    """The report on one page as PNG: verdict, lesions, slices with outlines."""
    across, tiles = 5, _tiles(view, 10)
    tile = 236
    height = round(tile * view.codes.shape[1] / view.codes.shape[2])
    rows = -(-len(tiles) // across)
    lines = _lines(case)
    top = 74 + 24 * len(lines) + 12
    page = Image.new("RGB", (across * tile + 40, top + rows * (height + 6) + 44), "#101418")
    draw = ImageDraw.Draw(page)
    colour = "#ff6b6b" if case.hemorrhage else "#8fd19e"
    draw.text((20, 16), case.verdict, fill=colour, font=_font(32))
    for i, (text, fill) in enumerate(lines):
        draw.text((20, 68 + 24 * i), text, fill=fill, font=_font(17))
    for i, z in enumerate(tiles):
        left, upper = 20 + (i % across) * tile, top + (i // across) * (height + 6)
        page.paste(_tile(view, z, tile - 4, height), (left, upper))
        draw.text((left + 6, upper + 4), view.slice_name(z), fill="#c8d0d8", font=_font(14))
    foot = "Research use only, not a medical device. Patient's right is on the left."
    draw.text((20, page.height - 32), foot, fill="#9aa4ae", font=_font(15))
    buffer = io.BytesIO()
    page.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _lines(case: Case) -> list[tuple[str, str]]:
    lines = []
    for lesion in case.lesions[:4]:
        depth = "" if lesion.depth_mm is None else f", {lesion.depth_mm:.0f} mm from the inner table"
        side = "" if lesion.side is None else f", {lesion.side}"
        text = f"{lesion.number}: {lesion.volume_ml:.1f} mL{side}, {lesion.diameter_mm:.0f} mm across, "
        lines.append((f"{text}{lesion.mean_hu:.0f} HU{depth}", "#e6e9ec"))
    if len(case.lesions) > 4:
        rest = sum(lesion.volume_ml for lesion in case.lesions[4:])
        lines.append((f"and {len(case.lesions) - 4} more, {rest:.1f} mL together", "#e6e9ec"))
    models = ", ".join(f"{model.bundle} {model.version}" for model in case.models)
    lines.append((f"{case.name}. Model: {models}. Midline shift: {midline_text(case.midline)}", "#9aa4ae"))
    if case.warnings:
        word = "warning" if len(case.warnings) == 1 else "warnings"
        lines.append((f"{len(case.warnings)} {word} on the scan or the result, see report.html", "#f0b34a"))
    return lines


def midline_text(midline: Midline) -> str:
    """Midline shift in words."""
    if midline.shift_mm is None:
        return midline.reason
    if midline.side is None:
        return "less than 2 mm"
    return f"about {midline.shift_mm:.0f} mm to the {midline.side}"


def _tiles(view: View, most: int) -> list[int]:
    """Slices for the one page: spread over those with a finding, else over the whole scan."""
    found = np.flatnonzero(np.array(view.area_cm2) > 0)
    if len(found) == 0:
        found = np.arange(len(view.codes))
    elif len(found) < most:
        more = most - len(found)
        low = max(0, found[0] - more // 2)
        found = np.arange(low, min(len(view.codes), max(found[-1] + 1, low + most)))
    return sorted(
        set(found[np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int)].tolist())
    )


def _tile(view: View, z: int, width: int, height: int) -> Image.Image:
    grey = Image.fromarray(grey_levels(BRAIN_WINDOW.hu)[view.codes[z]])
    picture = np.asarray(grey.resize((width, height), Image.Resampling.BILINEAR).convert("RGB")).copy()
    for layer in reversed(view.layers):
        mask = np.asarray(Image.fromarray(layer.mask[z]).resize((width, height), Image.Resampling.NEAREST))
        inside = mask.copy()
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            inside &= np.roll(mask, step, axis)
        picture[mask & ~inside] = ImageColor.getrgb(layer.colour)
    return Image.fromarray(picture)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
