"""What a report shows of a scan: one small volume of it, from which all views and windows are drawn."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from headct.predict.findings.measure import Measured

__all__ = [
    "MOST_VOXELS",
    "Layer",
    "Overlay",
    "View",
    "colours_of",
    "encode_hu",
    "grey_levels",
    "make_view",
    "packed",
]

MARGIN_MM = 24.0  # of skull and scalp shown around the brain
MOST_VOXELS = 4_000_000
"""Of the volume in a report, which bounds the size of the page: the pixels grow until it fits."""
SLICE_MM = 2.5  # thinner slices are averaged to about this
STEPS = ((-1000, -40, 40), (-40, 90, 1), (90, 200, 2), (200, 2040, 40))  # HU from, to, and by how much
COLOURS = {
    r"epidural|extradural|\bedh\b": "#ff9f43",
    r"subdural|\bsdh\b": "#36c5f0",
    r"subarachnoid|\bsah\b": "#7ee081",
    r"ventric|\bivh\b": "#d48cff",
    r"parenchym|intracerebral|\biph\b|\bich\b": "#ff4d4d",
}
"""Of the types of bleeding, by what a class is called: the same in every report."""
OTHERS = ("#ff4d4d", "#36c5f0", "#ffd23f", "#7ee081", "#d48cff", "#ff9f43", "#f78fb3", "#63e6be")
UNCERTAIN, PROBABLE = "#ba55ff", "#ffb347"
LEVELS = 15  # of an overlay
SINGLE = ("hemorrhage", "consensus")  # name of the outline where there are no types: of one model, of several
AUTOMATIC = "before correction"


@dataclass
class Layer:
    """A mask (slices, rows, columns) whose outline is drawn."""

    name: str
    colour: str
    mask: np.ndarray


@dataclass
class Overlay:
    """Values from 0 to `LEVELS` (slices, rows, columns) that tint the picture."""

    name: str
    colour: str
    values: np.ndarray


@dataclass
class View:
    """A scan, cut to the head and as coarse as a screen allows.

    Slices go from the bottom up, rows from front to back, columns from the patient's right to the left, so
    that a slice is a picture in radiological convention.

    Attributes:
        codes: the scan (slices, rows, columns), uint8, see `encode_hu`.
        pixel_mm: of rows and columns.
        slice_mm: from slice to slice.
        averaged: slices of the scan in one of these.
        count: slices of the scan.
        layers: outlines; those of the final label map first.
        overlays: uncertainty and probability, where there are any.
        area_cm2: of the final label map in each slice.
        start: slice, row and column that are shown first.
        places: slice, row and column of the centre of every lesion.
    """

    codes: np.ndarray
    pixel_mm: float
    slice_mm: float
    averaged: int
    count: int
    layers: list[Layer]
    overlays: list[Overlay]
    area_cm2: list[float]
    start: tuple[int, int, int]
    places: list[tuple[int, int, int]]

    def slice_name(self, index: int) -> str:
        """Number of a slice in the scan, counted from 1 at the bottom; a range where several are averaged."""
        first = index * self.averaged + 1
        last = min(first + self.averaged - 1, self.count)
        return str(first) if first == last else f"{first}-{last}"


def make_view(measured: Measured, probability: bool = False) -> View:
    """Cut the scan to the head, average thin slices, and make pixels as large as `MOST_VOXELS` asks for.

    Args:
        measured: the case with its arrays.
        probability: add the models' mean probability as an overlay.
    """
    x, y = _box(measured.brain, measured.spacing)
    sx, sy, sz = (float(mm) for mm in measured.spacing)
    averaged = max(1, round(SLICE_MM / sz))
    count = measured.hu.shape[2]
    depth = -(-count // averaged)
    wide_mm, high_mm = (x.stop - x.start) * sx, (y.stop - y.start) * sy
    pixel = max(min(sx, sy), (wide_mm * high_mm * depth / MOST_VOXELS) ** 0.5)
    size = max(1, round(wide_mm / pixel)), max(1, round(high_mm / pixel))

    def resized(volume: np.ndarray, smooth: bool, size_alone: bool = False) -> np.ndarray:
        how = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
        planes = []
        for z in range(0, count, averaged):
            slab = volume[x, y, z : z + averaged]
            slab = np.abs(slab) if size_alone else slab
            plane = slab.mean(2, dtype=np.float32) if smooth else slab.max(2)
            upright = np.ascontiguousarray(plane[::-1, ::-1].T)
            planes.append(np.asarray(Image.fromarray(upright).resize(size, how)))
        return np.stack(planes)

    codes = np.stack([encode_hu(plane) for plane in resized(measured.hu, True)])
    layers = _layers(measured, lambda mask: resized(mask.astype(np.uint8), False) > 0)
    overlays = []
    for name, colour, values, full in (
        ("uncertainty", UNCERTAIN, measured.deviation, 0.25),
        ("probability", PROBABLE, measured.probability if probability else None, 1.0),
    ):
        if values is not None:
            levels = (resized(values, True, True) * (LEVELS / full)).round().clip(0, LEVELS).astype(np.uint8)
            overlays.append(Overlay(name, colour, levels))

    def place(world: Sequence[float]) -> tuple[int, int, int]:
        i, j, k = (np.linalg.inv(measured.affine) @ [*world, 1.0])[:3]
        column, row = (x.stop - 1 - i) * sx / pixel, (y.stop - 1 - j) * sy / pixel
        at = np.rint([round(k) // averaged, row, column]).clip(0, np.array(codes.shape) - 1)
        return int(at[0]), int(at[1]), int(at[2])

    places = [place(lesion.centroid_mm) for lesion in measured.case.lesions]
    area = (measured.final > 0).sum((0, 1)) * sx * sy / 100
    starts = np.arange(0, count, averaged)
    area = np.add.reduceat(area, starts) / np.diff(starts, append=count)
    shown = np.flatnonzero(measured.brain.any((0, 1)))
    middle = int(shown[len(shown) // 2]) // averaged
    start = (middle, size[1] // 2, size[0] // 2)
    if area.any():
        start = (int(area.argmax()), *(places[0][1:] if places else start[1:]))
    return View(
        codes=codes,
        pixel_mm=pixel,
        slice_mm=sz * averaged,
        averaged=averaged,
        count=count,
        layers=layers,
        overlays=overlays,
        area_cm2=[float(a) for a in area],
        start=start,
        places=places,
    )


def encode_hu(hu: np.ndarray) -> np.ndarray:
    """HU as uint8 codes: 1 HU apart where brain and blood lie, coarser elsewhere."""
    table = _hu_table()
    nearest = np.arange(table[0], table[-1] + 1)
    codes = np.searchsorted((table[1:] + table[:-1]) / 2, nearest).astype(np.uint8)
    return codes[np.rint(hu.clip(table[0], table[-1])).astype(np.int32) - int(table[0])]


def grey_levels(window: tuple[float, float]) -> np.ndarray:
    """Grey, uint8, of each of the 256 codes in a window that goes from the first HU to the second."""
    low, high = window
    return ((_hu_table() - low) * (255 / (high - low))).clip(0, 255).round().astype(np.uint8)


@cache
def _hu_table() -> np.ndarray:
    """HU of the 256 codes."""
    return np.concatenate([np.arange(*step) for step in STEPS] + [np.array([STEPS[-1][1]])])


def packed(values: np.ndarray) -> str:
    """Bytes along the last axis as differences, deflated, in base64; masks as bits."""
    if values.dtype == bool:
        content = np.packbits(values).tobytes()
    else:
        content = np.diff(values, axis=-1, prepend=np.uint8(0)).tobytes()
    return base64.b64encode(zlib.compress(content, 6)).decode()


def _layers(measured: Measured, resized: Callable[[np.ndarray], np.ndarray]) -> list[Layer]:
    """Final label map, by type where it tells several, and the further ones."""
    classes, final = measured.case.classes, measured.final
    if len(classes) > 1:
        values = [v for v in classes if (final == v).any()] or list(classes)[:1]
        masks = {classes[v]: final == v for v in values}
    else:
        masks = {SINGLE[len(measured.case.models) > 1 and not measured.case.corrected]: final > 0}
    masks |= {name: part > 0 for name, part in measured.parts.items()}
    colours = colours_of(dict(enumerate(masks)))
    return [Layer(name, colours[i], resized(mask)) for i, (name, mask) in enumerate(masks.items())]


def colours_of(names: Mapping[int, str]) -> dict[int, str]:
    """A colour for each name, by its key: that of the type, else one that none of the others has."""
    found = {key: _colour_of_type(name) for key, name in names.items()}
    free = [colour for colour in OTHERS if colour not in found.values()]
    seen = {""}
    for key, colour in found.items():
        if colour in seen:  # no type, or two of one
            found[key] = free.pop(0) if free else "#ffffff"
        seen.add(colour)
    return found


def _colour_of_type(name: str) -> str:
    return next((colour for pattern, colour in COLOURS.items() if re.search(pattern, name, re.I)), "")


def _box(brain: np.ndarray, spacing: np.ndarray) -> tuple[slice, slice]:
    box = []
    for axis, other in ((0, (1, 2)), (1, (0, 2))):
        found = np.flatnonzero(brain.any(other))
        margin = round(MARGIN_MM / float(spacing[axis]))
        box.append(slice(max(int(found[0]) - margin, 0), min(int(found[-1]) + margin + 1, brain.shape[axis])))
    return box[0], box[1]
