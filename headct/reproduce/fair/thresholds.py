"""What a network's probabilities are worth at every threshold, and not at 0.5 alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headct.reproduce.fair.rows import with_sd
from headct.reproduce.slice_scores import Scores, Seeds
from tools.core.markdown import table
from tools.report.plots import save_figure

__all__ = ["best_threshold", "curves_table", "detection_tables", "dice_by_threshold", "draw_curves"]

Detection = Mapping[float, Sequence[float]]
"""A paper's sensitivity, specificity and accuracy in percent, by threshold."""


def dice_by_threshold(scores: Scores) -> NDArray[np.float64]:
    """Dice of all pixels of all slices together, at each of the curve's thresholds.

    Args:
        scores: with a curve; Dice is `2 P R / (P + R)` of its precision P and recall R.
    """
    recall, precision = np.asarray(scores.curve or ((), ()), np.float64)
    total = precision + recall
    return 2 * precision * recall / np.where(total > 0, total, 1)


def best_threshold(scores: Scores) -> tuple[float, float] | None:
    """The highest Dice of `dice_by_threshold`, and the lowest threshold that has it; None without a curve."""
    if scores.curve is None:
        return None
    dice = dice_by_threshold(scores)
    best = int(dice.argmax())
    return float(dice[best]), float(scores.thresholds[best])


def _at(scores: Scores, threshold: float = 0.5) -> float | None:
    """Dice at a threshold."""
    if scores.curve is None:
        return None
    return float(dice_by_threshold(scores)[int(np.searchsorted(scores.thresholds, threshold))])


def _best(scores: Scores, part: int) -> float | None:
    found = best_threshold(scores)
    return None if found is None else found[part]


def curves_table(scores: Seeds) -> list[str]:
    """Area below the precision-recall curve, and Dice at 0.5 and at the best threshold, by row."""
    lines = []
    for name, seeds in scores.items():
        cells = [with_sd(seeds, lambda own: own.area), with_sd(seeds, _at)]
        lines.append([name, *cells, *(with_sd(seeds, partial(_best, part=part)) for part in (0, 1))])
    return table(["", "PR area", "Dice at 0.5", "best Dice", "at the threshold"], lines)


def detection_tables(scores: Seeds, paper: Mapping[str, Detection]) -> list[str]:
    """Sensitivity, specificity and accuracy of slices by threshold in percent, means over seeds.

    Args:
        scores: by row and seed.
        paper: the paper's figures of a row, by its name.
    """
    names = ("sensitivity", "specificity", "accuracy")
    lines = []
    for row, seeds in scores.items():
        for number, first in enumerate(next(iter(seeds.values())).detection):
            threshold = round(first["threshold"], 1)
            cells = [row, f"{threshold:.1f}"]
            for place, name in enumerate(names):
                stated = paper.get(row, {}).get(threshold)
                cells.append("" if stated is None else f"{stated[place]:.1f}")
                found = [own.detection[number][name] for own in seeds.values()]
                known = [100 * share for share in found if share is not None]
                cells.append(f"{np.mean(known):.1f}" if known else "none")
            lines.append(cells)
    head = ["", "threshold", *(f"{name}{whose}" for name in names for whose in (", paper", ""))]
    return table(head, lines)


def draw_curves(scores: Seeds, path: Path) -> Path:
    """Precision against recall, and Dice against the threshold; a line for each seed.

    Args:
        scores: by row and seed.
        path: PNG file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    axes = figure.subplots(1, 2)
    for place, (name, seeds) in enumerate(scores.items()):
        drawn = [own for own in seeds.values() if own.curve is not None]
        for number, own in enumerate(drawn):
            style = {"color": f"C{place}", "linewidth": 1.2, "label": name if number == 0 else None}
            axes[0].plot(*(own.curve or ()), **style)
            axes[1].plot(own.thresholds, dice_by_threshold(own), **style)
    axes[0].set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision", title="all pixels")
    axes[1].set(xlim=(0, 1), ylim=(0, 1), xlabel="threshold", ylabel="Dice", title="all pixels")
    axes[1].legend(frameon=False)
    return save_figure(figure, path, dpi=90)
