"""Slices as a radiologist looks at them, outlines as SVG paths, and the one-page picture."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tools.predict.measure import Measured

__all__ = ["COLOURS", "View", "data_url", "make_view", "midline_text", "outline_path", "report_picture"]

BRAIN_WINDOW = (0.0, 80.0)  # HU
MARGIN_MM = 24.0  # of skull and scalp shown around the brain
WIDEST = 440  # pixels of a slice in the report
COLOURS = (
    "#ff4d4d",
    "#36c5f0",
    "#ffd23f",
    "#7ee081",
    "#d48cff",
    "#ff9f43",
)  # final outline, then the models'
DOUBT = (186, 85, 255)  # colour of the uncertainty map
DOUBT_FROM, DOUBT_FULL = 0.02, 0.25  # standard deviation that begins to show, and that hides what is below


@dataclass
class View:
    """What the report's viewer shows, slices from the bottom up.

    Attributes:
        size: width and height of the coordinates of all paths.
        jpegs: the slices.
        outlines: by name, an SVG path for every slice, "" where there is none; the final outline first.
        doubt: PNG of the uncertainty for every slice, b"" where there is none; None without uncertainty.
        area_cm2: of the final label map, per slice.
        start: number of the slice shown first.
    """

    size: tuple[float, float]
    jpegs: list[bytes]
    outlines: dict[str, list[str]]
    doubt: list[bytes] | None
    area_cm2: list[float]
    start: int


def make_view(measured: Measured) -> View:
    """Cut every slice to the head and outline what was found.

    The patient's right is on the left, the front at the top. Pixels are square on the picture.
    """
    box = _box(measured.brain, measured.spacing)
    count = measured.hu.shape[2]
    sx, sy = measured.spacing[:2]
    width_mm, height_mm = (box[0].stop - box[0].start) * sx, (box[1].stop - box[1].start) * sy
    pixel = max(width_mm / WIDEST, min(sx, sy))
    size = (round(width_mm / pixel), round(height_mm / pixel))
    scale = (sx / pixel, sy / pixel)
    label_name = "consensus" if measured.parts else "hemorrhage"
    masks = {label_name: measured.final, **measured.parts}
    doubt = None
    if measured.deviation is not None:
        doubt = [_doubt(_upright(measured.deviation[..., z][box])) for z in range(count)]
    area = (measured.final > 0).sum((0, 1)) * float(sx * sy) / 100
    shown = np.flatnonzero(measured.brain.any((0, 1)))
    start = int(area.argmax()) if area.any() else int(shown[len(shown) // 2])
    return View(
        size=size,
        jpegs=[_jpeg(_grey(_upright(measured.hu[..., z][box]), size)) for z in range(count)],
        outlines={
            name: [outline_path(_upright(mask[..., z][box] > 0), scale) for z in range(count)]
            for name, mask in masks.items()
        },
        doubt=doubt,
        area_cm2=[float(a) for a in area],
        start=start,
    )


def outline_path(mask: np.ndarray, scale: tuple[float, float] = (1.0, 1.0)) -> str:
    """The edges between a mask's pixels and the rest as an SVG path; "" for an empty mask.

    Args:
        mask: (rows, columns), bool.
        scale: width and height of a pixel in the path's coordinates.
    """
    if not mask.any():
        return ""
    padded = np.pad(mask.astype(np.int8), 1)
    parts = []
    rows = np.diff(padded, axis=0)[:, 1:-1] != 0  # an edge above row r, at column c
    for r, start, stop in _runs(rows):
        parts.append(f"M{start * scale[0]:.5g} {r * scale[1]:.5g}H{stop * scale[0]:.5g}")
    columns = np.diff(padded, axis=1)[1:-1].T != 0
    for c, start, stop in _runs(columns):
        parts.append(f"M{c * scale[0]:.5g} {start * scale[1]:.5g}V{stop * scale[1]:.5g}")
    return "".join(parts)


def report_picture(measured: Measured, view: View) -> bytes:
    """The report on one page as PNG: verdict, lesions, slices with outlines."""
    case = measured.case
    across, tiles = 5, _tiles(view, 10)
    tile = 236
    height = round(tile * view.size[1] / view.size[0])
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
        draw.text((left + 6, upper + 4), str(z + 1), fill="#c8d0d8", font=_font(14))
    foot = "Research use only, not a medical device. Patient's right is on the left."
    draw.text((20, page.height - 32), foot, fill="#9aa4ae", font=_font(15))
    buffer = io.BytesIO()
    page.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def data_url(content: bytes, kind: str) -> str:
    """Bytes as an address that a page can hold."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}" if content else ""


def _lines(case: Any) -> list[tuple[str, str]]:
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


def midline_text(midline: Any) -> str:
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
        found = np.arange(len(view.jpegs))
    elif len(found) < most:
        more = most - len(found)
        low = max(0, found[0] - more // 2)
        found = np.arange(low, min(len(view.jpegs), max(found[-1] + 1, low + most)))
    return sorted(
        set(found[np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int)].tolist())
    )


def _tile(view: View, z: int, width: int, height: int) -> Image.Image:
    picture = (
        Image.open(io.BytesIO(view.jpegs[z]))
        .convert("RGB")
        .resize((width, height), Image.Resampling.BILINEAR)
    )
    draw = ImageDraw.Draw(picture)
    fx, fy = width / view.size[0], height / view.size[1]
    for (_, paths), colour in zip(
        reversed(view.outlines.items()), reversed(COLOURS[: len(view.outlines)]), strict=True
    ):
        for part in paths[z].split("M")[1:]:
            start, letter, end = part.partition("H") if "H" in part else part.partition("V")
            x, y = (float(v) for v in start.split())
            other = (float(end), y) if letter == "H" else (x, float(end))
            draw.line([(x * fx, y * fy), (other[0] * fx, other[1] * fy)], fill=colour, width=1)
    return picture


def _box(brain: np.ndarray, spacing: np.ndarray) -> tuple[slice, slice]:
    box = []
    for axis, other in ((0, (1, 2)), (1, (0, 2))):
        found = np.flatnonzero(brain.any(other))
        margin = round(MARGIN_MM / float(spacing[axis]))
        box.append(slice(max(int(found[0]) - margin, 0), min(int(found[-1]) + margin + 1, brain.shape[axis])))
    return box[0], box[1]


def _upright(plane: np.ndarray) -> np.ndarray:
    """(X, Y) in RAS -> rows from front to back, columns from the patient's right... seen from the feet."""
    return plane[::-1, ::-1].T


def _grey(values: np.ndarray, size: tuple[int, int]) -> Image.Image:
    low, high = BRAIN_WINDOW
    grey = ((values - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(grey)).resize(size, Image.Resampling.BILINEAR)


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=82)
    return buffer.getvalue()


def _doubt(deviation: np.ndarray) -> bytes:
    """RGBA picture of the uncertainty, at half the resolution."""
    if not (deviation > DOUBT_FROM).any():
        return b""
    opacity = ((deviation[::2, ::2] - DOUBT_FROM) / (DOUBT_FULL - DOUBT_FROM)).clip(0, 1) * 200
    rgba = np.empty((*opacity.shape, 4), np.uint8)
    rgba[..., :3], rgba[..., 3] = DOUBT, opacity.astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def _runs(edges: np.ndarray) -> list[tuple[int, int, int]]:
    """Runs of True along the second axis: line, start, stop."""
    flat = np.diff(np.pad(edges.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    line, start = np.nonzero(flat == 1)
    _, stop = np.nonzero(flat == -1)
    return list(zip(line.tolist(), start.tolist(), stop.tolist(), strict=True))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
