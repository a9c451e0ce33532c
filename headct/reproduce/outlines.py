"""A test head with what a run found in it, for a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from PIL import Image, ImageColor

from headct.scores.overlay import (
    PREDICTION_COLOUR,
    TRUTH_COLOUR,
    OverlayCase,
    overlay_picture,
)
from tools.core.files import write_bytes

__all__ = ["COLUMNS", "draw_outlines", "outlined", "outlined_picks", "outlined_slices"]

COLUMNS, DPI = 4, 72
"""Slices of a head, and pixels per inch, few since pages want small pictures."""
GREYS, SHADES = 24, 5


def draw_outlines(cases: Sequence[OverlayCase], path: Path) -> Path:
    """`overlay_picture` as a small file: few pixels, and few colours.

    Args:
        cases: heads, one below the other.
        path: PNG file to write.
    """
    overlay_picture(cases, path, columns=min(COLUMNS, *(case.image.shape[2] for case in cases)), dpi=DPI)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(palette=_palette(), dither=Image.Dither.NONE)
    stream = io.BytesIO()
    small.save(stream, "PNG", optimize=True)
    return write_bytes(path, stream.getvalue())


def _palette() -> Image.Image:
    """Greys, and the colours of both outlines from faint to full over dark, middle and bright grey."""
    greys = [(level, level, level) for level in np.linspace(0, 255, GREYS).astype(int).tolist()]
    outlines = [
        tuple(round(ground + (channel - ground) * share) for channel in ImageColor.getrgb(colour))
        for colour in (TRUTH_COLOUR, PREDICTION_COLOUR)
        for ground in (0, 110, 255)
        for share in np.linspace(0, 1, SHADES + 1)[1:].tolist()
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for colour in (*greys, *outlines) for channel in colour])
    return palette


def outlined(folder: Path, item: Mapping[str, Any], run: Path, title: str) -> OverlayCase:
    """The head with its truth and the prediction of a run, at slices spread over the truth.

    Args:
        folder: that the paths of the entry are relative to.
        item: entry of the datalist, with `image`, `label` and `case`.
        run: folder of a configuration, which holds `run/eval/predictions`.
        title: above the head.
    """
    image, spacing = _volume(folder / item["image"])
    pred, _ = _volume(run / "run" / "eval" / "predictions" / f"{item['case']}_seg.nii.gz")
    truth = _volume(folder / item["label"])[0]
    shown = np.flatnonzero(truth.numpy().any((0, 1)))
    picks = np.linspace(shown[0], shown[-1], COLUMNS).round().astype(int) if len(shown) else None
    return OverlayCase(title, image, pred, truth, spacing, None if picks is None else picks.tolist())


def outlined_slices(folder: Path, items: Sequence[Mapping[str, Any]], run: Path, title: str) -> OverlayCase:
    """The same of single slices of a head, of which each has a prediction of its own, in their order.

    Args:
        folder: that the paths of the entries are relative to.
        items: entries of the datalist, all of one head, with `slice` too, which counts from 1.
        run: folder of a configuration, which holds `run/eval/predictions`.
        title: above the head.
    """
    image, spacing = _volume(folder / items[0]["image"])
    truth, _ = _volume(folder / items[0]["label"])
    numbers = [int(item["slice"]) - 1 for item in items]
    found = run / "run" / "eval" / "predictions"
    preds = [_volume(found / f"{item['case']}_seg.nii.gz")[0].reshape(image.shape[:2]) for item in items]
    picks = np.linspace(0, len(items) - 1, min(COLUMNS, len(items))).round().astype(int).tolist()
    return OverlayCase(
        title, image[..., numbers], torch.stack(preds, -1), truth[..., numbers], spacing, picks
    )


def outlined_picks(
    folder: Path,
    items: Mapping[str, Mapping[str, Any]],
    run: Path,
    picks: Sequence[tuple[str, int]],
    title: str,
) -> OverlayCase:
    """The same of chosen slices of several heads with one grid, in the order given.

    Args:
        folder: that the paths of the entries are relative to.
        items: entries of the datalist, by case.
        run: folder of a configuration, which holds `run/eval/predictions`.
        picks: cases and numbers of their slices, which count from 1.
        title: above the slices.
    """
    heads = {case: outlined(folder, items[case], run, title) for case, _ in picks}
    stacks = {
        name: torch.stack([getattr(heads[case], name)[..., number - 1] for case, number in picks], -1)
        for name in ("image", "pred", "truth")
    }
    return OverlayCase(title, **stacks, spacing=heads[picks[0][0]].spacing, slices=list(range(len(picks))))


def _volume(path: Path) -> tuple[torch.Tensor, list[float]]:
    """Voxels (X, Y, Z) of a NIfTI file, and their size in mm."""
    image: Any = nib.load(path)
    voxels = torch.from_numpy(np.asarray(image.dataobj, np.float32))
    return voxels, [float(mm) for mm in image.header.get_zooms()[:3]]
