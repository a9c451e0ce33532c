"""The page of `unseen.py`: tables, operating and reliability curves, the worst heads."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headct.reproduce.outlines import draw_outlines
from tools.core.markdown import table
from tools.report.plots import save_figure

if TYPE_CHECKING:
    from unseen import Score

__all__ = ["draw_curves", "draw_worst", "make_page", "smallest_found"]

LARGE_ML = 3.0
SHARE_FOUND = 0.9
TEXT = """\
# Heads of people whom no training has seen

What the shipped weights find in synthetic heads with the anatomy of three real people of whom no training
head is made. The epoch of the weights was chosen on other heads of the same three. Synthetic results are
never clinical ones.

`python benchmarks/unseen.py --anatomy MAPS --write`, {heads} heads, {bleeding} of them with hemorrhage, on
{machine}. `all` is the vote of all bundles.

A head is *found* if a voxel of its hemorrhage is. *Sensitivity* is the share of heads with hemorrhage that
are found, *specificity* that of the others where nothing is. *Found in 90 %* is the smallest volume from
which on at least 90 % of the heads are found. *Macro Dice of types* is the mean over the types of the Dice of
all voxels together.
"""
SEEN = """\
The same against the part of the hemorrhage that a reader would outline (`tools.phantom.outline`): not what
looks like bone, nor what looks like the brain around it. A head without any such part counts as one without.
"""
OPERATING = """\
Mean Dice of the heads with hemorrhage, sensitivity by head, and mL of false blood per head, by threshold of
the probability of any hemorrhage. What ships takes the threshold in `models/model.json`, or else 0.5.
"""
PICTURES = """\
Operating curves with the label map's point marked, reliability curves (share of voxels that bleed by their
probability, from 0.01 on), and the ten worst heads of each bundle.
"""


def make_page(
    scores: Mapping[str, Sequence[Score]],
    seen: Mapping[str, Sequence[Score]],
    thresholds: Sequence[float],
    machine: str,
) -> str:
    """Markdown of all tables.

    Args:
        scores: heads by bundle.
        seen: the same against the hemorrhage that can be seen.
        thresholds: of the probability, of the operating curve.
        machine: what it ran on.
    """
    first = next(iter(scores.values()))
    heads = {"heads": len(first), "bleeding": sum(one.found is not None for one in first)}
    parts = [TEXT.format(**heads, machine=machine), "\n".join(_table(scores))]
    parts += ["\n## What can be seen\n", SEEN, "\n".join(_table(seen))]
    parts += ["\n## By type\n", "Dice of all voxels together.\n", "\n".join(_types(scores))]
    parts += ["\n## Operating points\n", OPERATING, "\n".join(_operating(scores, thresholds))]
    parts += ["\n## Pictures\n", PICTURES]
    return "\n".join(parts) + "\n"


def _table(scores: Mapping[str, Sequence[Score]]) -> list[str]:
    lines = []
    for name, own in scores.items():
        bleeding = [one for one in own if one.found is not None]
        large = [one for one in bleeding if one.ml >= LARGE_ML]
        small = [one for one in bleeding if one.ml < LARGE_ML]
        normal = [one for one in own if one.found is None]
        smallest = smallest_found([(one.ml, bool(one.found)) for one in bleeding])
        lines.append([
            name,
            _mean(bleeding, lambda one: one.dice),
            _mean(large, lambda one: one.dice),
            _mean(small, lambda one: float(bool(one.found))),
            _mean(bleeding, lambda one: float(bool(one.found))),
            _mean(normal, lambda one: float(one.false_ml == 0)),
            "none" if smallest is None else f"{smallest:.1f} mL",
            _mean(own, lambda one: one.false_ml),
            _mean(normal, lambda one: one.false_ml),
        ])  # fmt: skip
    head = [
        "",
        "Dice",
        f"Dice from {LARGE_ML:g} mL",
        f"found below {LARGE_ML:g} mL",
        "sensitivity",
        "specificity",
    ]
    return table([*head, "found in 90 %", "false mL per head", "false mL without hemorrhage"], lines)


def _mean(heads: Sequence[Score], of: Callable[[Score], float]) -> str:
    return f"{statistics.fmean(map(of, heads)):.2f} ({len(heads)})" if heads else "no head"


def smallest_found(heads: Sequence[tuple[float, bool]]) -> float | None:
    """The smallest volume from which on at least 90 % of the heads are found; None if there is none.

    Args:
        heads: mL and whether it was found.
    """
    smallest = None
    ranked = sorted(heads, reverse=True)
    for number, (ml, _) in enumerate(ranked, 1):
        if sum(found for _, found in ranked[:number]) >= SHARE_FOUND * number:
            smallest = ml
    return smallest


def _types(scores: Mapping[str, Sequence[Score]]) -> list[str]:
    kinds = list(next(iter(scores.values()))[0].types)
    lines = []
    for name, own in scores.items():
        sums = {kind: np.sum([one.types[kind] for one in own], 0) for kind in kinds}
        dice = {
            kind: 2 * both / (true + found) if true + found else 1.0
            for kind, (true, found, both) in sums.items()
        }
        if any(found for _, found, _ in sums.values()):  # not of those that tell no types
            cells = [f"{dice[kind]:.2f}" for kind in kinds]
            lines.append([name, *cells, f"{statistics.fmean(dice.values()):.2f}"])
    return table(["", *(kind.upper() for kind in kinds), "macro Dice of types"], lines)


def _operating(scores: Mapping[str, Sequence[Score]], thresholds: Sequence[float]) -> list[str]:
    lines = []
    for name, own in scores.items():
        curve = _curve(own)
        dice = np.mean([one.dice_at for one in own if one.found is not None], 0)
        cells = zip(dice, curve, strict=True)
        lines.append([name, *(f"{mean:.2f} / {found:.2f} / {false:.1f}" for mean, (found, false) in cells)])
    return table(["", *(f"{threshold:g}" for threshold in thresholds)], lines)


def _curve(own: Sequence[Score]) -> list[tuple[float, float]]:
    """Sensitivity by head and false mL per head, by threshold."""
    bleeding = [one for one in own if one.found is not None]
    found = np.mean([one.found_at for one in bleeding], 0)
    false = np.mean([one.false_ml_at for one in own], 0)
    return list(zip(found.tolist(), false.tolist(), strict=True))


def draw_curves(scores: Mapping[str, Sequence[Score]], thresholds: Sequence[float], path: Path) -> Path:
    """Operating and reliability curves of all bundles.

    Args:
        scores: heads by bundle.
        thresholds: of the operating curves.
        path: PNG file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (name, own) in enumerate(scores.items()):
        colour = f"C{number}"
        found, false = zip(*_curve(own), strict=True)
        left.plot(false, found, ".-", color=colour, label=name, linewidth=1)
        bleeding = [bool(one.found) for one in own if one.found is not None]
        point = [statistics.fmean(one.false_ml for one in own)], [statistics.fmean(bleeding)]
        left.plot(*point, "o", color=colour, markersize=9, fillstyle="none")
        voxels, bleed = np.sum([one.bins for one in own], 0)
        tenths = (np.arange(len(voxels)) + 0.5) / len(voxels)
        right.plot(
            tenths[voxels > 0], (bleed / np.maximum(voxels, 1))[voxels > 0], ".-", color=colour, linewidth=1
        )
    left.set(xlabel="false mL per head", ylabel="heads found", ylim=(0, 1.02), xscale="symlog")
    left.set_title(f"thresholds {thresholds[0]:g} to {thresholds[-1]:g}; circle: label map", fontsize=9)
    left.legend(frameon=False, fontsize=8)
    right.plot([0, 1], [0, 1], ":", color="grey")
    right.set(xlabel="probability", ylabel="share of voxels that bleed", xlim=(0, 1), ylim=(0, 1))
    return save_figure(figure, path, dpi=90)


def draw_worst(heads: Sequence[Score], path: Path) -> Path:
    """The worst heads, one below the other, with truth and what was found.

    Args:
        heads: with their pictures.
        path: PNG file to write.
    """
    cases = []
    for one in heads:
        assert one.picture is not None
        types = "+".join(kind.upper() for kind, (true, _, _) in one.types.items() if true) or "no hemorrhage"
        one.picture.title = f"{types}, {one.ml:.1f} mL: Dice {one.dice:.2f}, {one.false_ml:.1f} mL false"
        cases.append(one.picture)
    return draw_outlines(cases, path)
