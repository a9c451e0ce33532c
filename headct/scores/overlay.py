"""Pictures of results: outlines over slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tools.core.windows import BRAIN_WINDOW
from tools.report.plots import save_figure

__all__ = ["OverlayCase", "overlay_picture"]

TRUTH_COLOUR, PREDICTION_COLOUR = "#35d07f", "#ff4d4d"


@dataclass
class OverlayCase:
    """One volume and its masks, RAS, (1, X, Y, Z) or (X, Y, Z).

    Args:
        title: above its slices.
        image: HU.
        pred, truth: masks.
        spacing: size of a voxel in mm.
        slices: numbers of those to show, from 0; None spreads them over those that show truth or prediction.
    """

    title: str
    image: torch.Tensor
    pred: torch.Tensor
    truth: torch.Tensor | None = None
    spacing: Sequence[float] = (1.0, 1.0, 1.0)
    slices: Sequence[int] | None = None


def overlay_picture(cases: Sequence[OverlayCase], path: str | Path, columns: int = 6, dpi: int = 110) -> Path:
    """Slices in the brain window (0 to 80 HU), one row per case, with truth and prediction outlined.

    The slices are spread over those that show truth or prediction; where there is neither, over the head.
    The patient's left is on the right, as radiologists look at it.

    Args:
        cases: what to show.
        path: PNG file to write.
        columns: slices per case.
        dpi: pixels per inch; a slice is 2.1 inches wide.

    Returns:
        `path`.
    """
    figure = Figure(figsize=(2.1 * columns, 2.6 * len(cases) + 0.4), facecolor="black", layout="constrained")
    rows = figure.subfigures(len(cases), 1, squeeze=False)[:, 0]
    for row, case in zip(rows, cases, strict=True):
        row.set_facecolor("black")
        row.suptitle(case.title, color="white", fontsize=9, x=0.01, ha="left")
        _draw_case(row.subplots(1, columns, squeeze=False)[0], case)
    handles = [
        Line2D([], [], color=TRUTH_COLOUR, label="truth"),
        Line2D([], [], color=PREDICTION_COLOUR, label="prediction"),
    ]
    figure.legend(
        handles=handles, loc="outside lower right", ncols=2, labelcolor="white", frameon=False, fontsize=9
    )
    return save_figure(figure, path, dpi=dpi)


def _draw_case(axes: Sequence[Axes], case: OverlayCase) -> None:
    """One slice of the case in each of the axes, cropped to the head."""
    image, pred = _array(case.image), _array(case.pred) > 0
    truth = _array(case.truth) > 0 if case.truth is not None else np.zeros_like(pred)
    head = image > -200
    shown = np.flatnonzero((pred | truth).any(axis=(0, 1)))
    if len(shown) < len(axes):
        shown = (
            np.flatnonzero(head.mean(axis=(0, 1)) > 0.1) if len(shown) == 0 else _widened(shown, axes, image)
        )
    picks = shown[np.linspace(0, len(shown) - 1, len(axes)).round().astype(int)]
    if case.slices is not None:
        picks = np.asarray(case.slices)[: len(axes)]
    x, y = (np.flatnonzero(head[..., picks].any(axis=axis)) for axis in ((1, 2), (0, 2)))
    box = np.s_[x[0] : x[-1] + 1, y[0] : y[-1] + 1]
    for axis, z in zip(axes, picks, strict=True):
        axis.imshow(
            _radiological(image[..., z][box]),
            cmap="gray",
            vmin=BRAIN_WINDOW.hu[0],
            vmax=BRAIN_WINDOW.hu[1],
            aspect=case.spacing[1] / case.spacing[0],
        )
        for mask, colour in ((truth, TRUTH_COLOUR), (pred, PREDICTION_COLOUR)):
            flat = _radiological(mask[..., z][box])
            if flat.any():
                axis.contour(flat, levels=[0.5], colors=[colour], linewidths=1.0)
        axis.set_title(f"slice {z}", color="#aaaaaa", fontsize=7, pad=2)
        axis.set_axis_off()


def _widened(shown: np.ndarray, axes: Sequence[Axes], image: np.ndarray) -> np.ndarray:
    """Slices around the few that show something, as many as there are axes."""
    missing = len(axes) - (shown[-1] - shown[0] + 1)
    first = max(0, shown[0] - max(0, missing + 1) // 2)
    last = min(image.shape[2] - 1, max(shown[-1], first + len(axes) - 1))
    return np.arange(first, last + 1)


def _radiological(flat: np.ndarray) -> np.ndarray:
    """An RAS slice (X, Y) as rows and columns of a picture: the patient's right on the left, the nose up."""
    return np.flipud(flat[::-1].T)


def _array(volume: torch.Tensor) -> np.ndarray:
    array = np.asarray(volume.detach().cpu())
    return array[0] if array.ndim == 4 else array
