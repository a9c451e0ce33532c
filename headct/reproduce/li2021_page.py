"""The page of Li 2021: all networks in one table, their curves, and their time per slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headct.reproduce.page import machine, markdown, order_agreement, provenance
from headct.reproduce.slice_scores import Scores
from tools.core.markdown import table
from tools.core.tables import Row
from tools.report.plots import save_figure

__all__ = ["Model", "draw", "make_page"]

COMPARED = ("UNet6Gan", "DeepLabV3+", "FCN", "PSPNet", "RefineNet", "SegNet", "U-Net")

METRICS = """\
LA is location accuracy: the share of slices whose prediction meets the lesion in a pixel at least. Dice,
IoU, precision and recall are means over slices with lesion; the area is that under the precision-recall
curve of all pixels; a false alarm is a slice without lesion in which something was predicted. The paper's
figures are of 120 slices of its own, ours of synthetic heads: only the order of rows can be compared{}."""

REAL_SLICES = """\
Trained on synthetic heads alone, scored on the {} real slices of {} patients in a sample of CT-ICH 1.0.0,
which no training or choice of an epoch has seen. So few slices rank nothing; they show how far synthetic
training carries. The paper's UNet6Gan, trained on CT-ICH, reached Dice 0.4348 and IoU 0.2754 there."""

TIMES = """\
One slice of 256x256 at a time, forward pass, on {}; the networks took turns in one run, as their bundle's
configurations make them. The paper's are of its data sets 1 and 2 on a GTX 1080 Ti."""


@dataclass(frozen=True)
class Model:
    """One network of the paper.

    Args:
        overlays: in `configs/variants` of its bundle.
        location: location accuracy on large and small lesions, table I.
        bundle: its bundle.
        ms: milliseconds per image on the paper's two data sets, table II.
        backbone: what it is built on, where the paper names none.
        bench: its name in `benchmarks/bench_slices.py`.
    """

    overlays: tuple[str, ...]
    location: tuple[float, float] | None = None
    bundle: str = "gan_unet2d"
    ms: tuple[float, float] | None = None
    bench: str | None = None
    backbone: str = ""


def make_page(
    command: str,
    models: Mapping[str, Model],
    scores: Mapping[str, Scores],
    real: Mapping[str, Scores],
    times: Sequence[Row],
    keys: Mapping[str, Any],
    quick: bool,
    pictures: Sequence[Path] = (),
) -> str:
    """The page of what was run.

    Args:
        command: that ran it.
        models: all networks.
        scores: by name, on synthetic heads.
        real: the same on slices of CT-ICH; may be empty.
        times: rows of `benchmarks/bench_slices.py`; may be empty.
        keys: of the configurations, the same for all.
        quick: whether this is `--quick`.
        pictures: to show, in the folder of the page.
    """
    first = next(iter(scores.values()))
    parts: list[str | Sequence[str]] = [_about(command, first, keys, quick)]
    left_out = [name for name in models if name not in scores]
    if left_out:
        parts.append(f"Not run here: {', '.join(left_out)}.")
    if not times:
        parts.append("Table II is left out; `benchmarks/bench_slices.py` measures the time per slice.")
    parts += [
        "## All networks (table I, figures 10, 11 and 14)",
        METRICS.format(", and after so short a training hardly that" if quick else ""),
        _scores_table(models, scores, with_paper=True),
        _order(models, scores),
        *(f"![{path.stem}]({path.name})" for path in pictures),
    ]
    if real:
        rows = next(iter(real.values())).rows
        patients = {row.get("patient") for row in rows}
        parts += [
            "## The same networks on real slices",
            REAL_SLICES.format(len(rows), len(patients)),
            _scores_table(models, real, with_paper=False),
        ]
    if times:
        parts += ["## Time per slice (table II)", TIMES.format(machine()), _times_table(models, times)]
    return markdown("Li 2021 on synthetic heads", *parts)


def _about(command: str, first: Scores, keys: Mapping[str, Any], quick: bool) -> list[str]:
    """What was run on what."""
    phantom = keys["phantom"]
    shape, spacing = ("x".join(map(str, phantom[key])) for key in ("shape", "spacing"))
    large, small = (len(first.lesions(which)) for which in (True, False))
    more = {
        "size": "quick" if quick else "full",
        "limit": f"lesions of a slice up to {keys['small_mm2']:g} mm2 are small",
    }
    if quick:
        more["training"] = (
            f"{keys['max_epochs']} epochs of {keys['patches_per_case']} slices per case at "
            f"{'x'.join(map(str, keys['input#size']))} pixels (Pix2Pix7, if smaller: 128x128), "
            f"Adam {keys['learning_rate']:g}; "
            f"adversarial training after {keys['pretrain_epochs']} of them"
        )
        more["networks"] = (
            f"{keys['network_def#features']} base channels in place of 32 or 64; "
            f"{keys['network_def#encoder']} in place of ResNet-50 (FCN keeps it); "
            "UNet6Incep and UNet6Vgg from random weights, not ImageNet's"
        )
    return provenance(
        command,
        f"synthetic heads (`tools.phantom`, seed {phantom['seed']}, {shape} voxels of {spacing} mm)",
        "test heads of their own; the best epoch is chosen on a fold of the training heads",
        f"{phantom['cases']} heads to train and choose, {phantom['test_cases']} to score: {len(first.rows)} "
        f"slices, {large} with a large and {small} with a small lesion",
        more,
    )


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _scores_table(models: Mapping[str, Model], scores: Mapping[str, Scores], with_paper: bool) -> list[str]:
    groups = ("large", "small")
    head = ["network", "built on"]
    for group in groups:
        head += [f"LA {group}, paper", f"LA {group}"] if with_paper else [f"LA {group}"]
    head += ["Dice large", "Dice small", "Dice", "IoU", "precision", "recall", "PR area", "false alarms"]
    lines = []
    for name, own in scores.items():
        cells, paper = [name, models[name].backbone], models[name].location or (None, None)
        for number, group in enumerate(groups):
            cells += [_text(paper[number])] if with_paper else []
            cells.append(_text(own.mean("hit", group == "large")))
        cells += [_text(own.mean("dice", True)), _text(own.mean("dice", False))]
        cells += [_text(own.mean(column)) for column in ("dice", "iou", "precision", "recall")]
        lines.append([*cells, _text(own.area), _text(own.false_alarms())])
    return table(head, lines)


def _order(models: Mapping[str, Model], scores: Mapping[str, Scores]) -> str:
    """Agreement with table I, for large and small lesions."""
    sentences = []
    for number, group in enumerate(("large", "small")):
        paper = {name: model.location[number] for name, model in models.items() if model.location}
        ours = {name: own.mean("hit", group == "large") or 0.0 for name, own in scores.items()}
        sentences.append(f"Location accuracy, {group} lesions: {order_agreement(paper, ours)}")
    return "\n\n".join(sentences)


def _times_table(models: Mapping[str, Model], times: Sequence[Row]) -> list[str]:
    columns = [key for key in times[0] if "batch" in key]
    by_name = {row["network"]: row for row in times}
    lines = []
    for name, model in models.items():
        if model.bench in by_name:
            row = by_name[model.bench]
            paper = [f"{value:.1f}" for value in model.ms] if model.ms else ["", ""]
            size = f"{row['million parameters']:.1f}"
            lines.append([name, model.backbone, *paper, size, *(f"{row[c]:.1f}" for c in columns)])
    head = ["network", "built on", "paper, set 1", "paper, set 2", "million parameters"]
    return table([*head, *columns], lines)


def draw(models: Mapping[str, Model], scores: Mapping[str, Scores], out: Path) -> list[Path]:
    """Figures 10, 11 and 14: Dice and IoU as bars, and the precision-recall curves; family and compared."""
    from matplotlib.figure import Figure

    family = [name for name in models if name in scores and (name == "UNet6Gan" or name not in COMPARED)]
    compared = [name for name in COMPARED if name in scores]
    paths = []
    for names, stem in ((family, "li2021_family"), (compared, "li2021_compared")):
        if not names:
            continue
        figure = Figure(figsize=(13, 4), layout="constrained")
        axes = figure.subplots(1, 3)
        for axis, large, title in zip(axes, (True, False), ("large lesions", "small lesions"), strict=False):
            places = np.arange(len(names))
            for shift, column in ((-0.2, "dice"), (0.2, "iou")):
                values = [scores[name].mean(column, large) or 0.0 for name in names]
                axis.bar(places + shift, values, 0.4, label={"dice": "Dice", "iou": "IoU"}[column])
            axis.set_xticks(places, names, rotation=60, ha="right")
            axis.set(ylim=(0, 1), title=title)
            axis.legend(frameon=False)
        for name in names:
            curve = scores[name].curve
            if curve:
                axes[2].plot(*curve, label=f"{name} {_text(scores[name].area)}", linewidth=1.2)
        axes[2].set(
            xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision", title="all pixels, and area"
        )
        axes[2].legend(frameon=False, fontsize=7)
        paths.append(save_figure(figure, out / f"{stem}.png"))
    return paths
