"""The page of the fair test of Li 2021: location accuracy, overlap, curves and outlines."""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headct.reproduce.fair.rows import not_run
from headct.reproduce.fair.slice_tables import head_tests, scores_table
from headct.reproduce.fair.slices import HEADS, by_head
from headct.reproduce.li2021 import MODELS
from headct.reproduce.outlines import draw_outlines, outlined
from headct.reproduce.page import markdown, order_agreement, provenance
from headct.reproduce.slice_scores import Seeds
from tools.report.plots import save_figure

__all__ = ["draw", "make_page"]

PAIRS = (
    ("UNet6", "UNet6Dil"),
    ("UNet6", "UNet6Flip"),
    ("UNet6", "UNet6Gan"),
    ("DeepLabV3+", "UNet6Gan"),
    ("U-Net", "UNet6Gan"),
    ("UNet6Gan", "UNet6GanReLU"),
    ("UNet6Dil", "UNet6FlipD"),
)
DICE = {"UNet6Gan": (0.6242, 0.4723)}
"""Dice and IoU that the paper states for its own data (figure 14, table II's text)."""

METHOD = """\
Smaller than the paper: slices of {} pixels instead of 256x256; {} base channels, a quarter of the bundle's,
and a quarter of the plain U-Net's; DeepLabV3+ on a ResNet-18 and with random weights; the plain U-Net, which
has no normalisation, at a fifth of the learning rate. Every row takes {}
steps of {} slices; UNet6Gan takes the second half of them against a discriminator. The epoch is chosen by
the Dice of other heads, among four, or of UNet6Gan among the two against the discriminator. Test heads are
made of label maps that no training head is made of. Every lesion of a slice up to {} mm2 is small.

LA is location accuracy: the share of slices whose prediction meets the lesion in a pixel at least. Dice and
IoU are means over slices with lesion; a false alarm is a slice without lesion in which something was
predicted. All are means over seeds, with the standard deviation over seeds behind ±; a row without ± has one
seed. The paper states LA of 71 slices with a large and 49 with a small lesion. Its Dice of 0.8033 and IoU of
0.6919 are those of UNet6Dil on large lesions."""


def make_page(
    command: str,
    rows: Collection[str],
    scores: Seeds,
    keys: Mapping[str, Any],
    pictures: Sequence[Path] = (),
) -> str:
    """The page of what was run.

    Args:
        command: that ran it.
        rows: names of all that were asked for.
        scores: by row and seed.
        keys: of all configurations.
        pictures: to show, in the folder of the page.
    """
    first = next(iter(next(iter(scores.values())).values()))
    large, small = (len(first.lesions(which)) for which in (True, False))
    size = "x".join(map(str, keys["input#size"]))
    steps = keys["max_epochs"] * keys["patches_per_case"] * sum(HEADS.training.values()) // keys["batch_size"]
    about = provenance(
        command,
        HEADS.words(),
        "test heads of other people than the training heads; the epoch is chosen on the validation heads",
        f"{len(first.rows)} test slices, {large} with a large and {small} with a small lesion",
        {"training": f"{keys['max_epochs']} epochs, {steps} steps, Adam {keys['learning_rate']:g}"},
    )
    method = METHOD.format(
        size, keys["network_def#features"], steps, keys["batch_size"], f"{keys['small_mm2']:g}"
    )
    parts: list[str | Sequence[str]] = [about, method, not_run(rows, scores)]
    location = {name: model.location for name, model in MODELS.items() if model.location}
    parts += ["## All networks (table I)", scores_table(scores, location, DICE)]
    parts.append(_order(scores))
    parts += head_tests(scores, PAIRS)
    parts += [f"![{path.stem}]({path.name})" for path in pictures]
    return markdown("Li 2021 put to a fair test", *parts)


def _order(scores: Seeds) -> str:
    """Agreement with table I, for large and small lesions."""
    sentences = []
    for number, group in enumerate(("large", "small")):
        paper = {name: model.location[number] for name, model in MODELS.items() if model.location}
        ours = {
            name: statistics.fmean(own.mean("hit", group == "large") or 0.0 for own in seeds.values())
            for name, seeds in scores.items()
        }
        sentences.append(f"Location accuracy, {group} lesions: {order_agreement(paper, ours)}")
    return "\n\n".join(sentences)


def draw(scores: Seeds, datalist: Path, work_dir: Path, out: Path) -> list[Path]:
    """Figures 10, 11 and 14 (overlap, precision-recall curves of seed 0), and outlines on a test head.

    Args:
        scores: by row and seed.
        datalist: of the heads.
        work_dir: folder of the runs.
        out: folder of the pictures.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    axes, names = figure.subplots(1, 3), list(scores)
    places = np.arange(len(names))
    for axis, large, title in zip(axes, (True, False), ("large lesions", "small lesions"), strict=False):
        for shift, column, text in ((-0.2, "dice", "Dice"), (0.2, "iou", "IoU")):
            each = [[own.mean(column, large) or 0.0 for own in scores[name].values()] for name in names]
            spread = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in each]
            means = [statistics.fmean(values) for values in each]
            axis.bar(places + shift, means, 0.4, yerr=spread, label=text)
        axis.set_xticks(places, names, rotation=60, ha="right")
        axis.set(ylim=(0, 1), title=title)
        axis.legend(frameon=False)
    for name, seeds in scores.items():
        first = next(iter(seeds.values()))
        if first.curve:
            axes[2].plot(*first.curve, label=f"{name} {first.area or 0:.3f}", linewidth=1.2)
    axes[2].set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision")
    axes[2].set_title("all pixels, and area (seed 0)")
    axes[2].legend(frameon=False, fontsize=7)
    paths = [save_figure(figure, out / "li2021_fair.png", dpi=90)]
    cases = _outlined(scores, datalist, work_dir)
    if cases:
        paths.append(draw_outlines(cases, out / "li2021_fair_heads.png"))
    return paths


def _outlined(scores: Seeds, datalist: Path, work_dir: Path) -> list[Any]:
    """Figures 12 and 15: the head in the middle of the first row's Dice, by every row with seed 0."""
    first = next(iter(scores.values())).get(0)
    heads = sorted(by_head(first.rows, ("dice",)), key=lambda row: row["dice"]) if first else []
    if not heads:
        return []
    items = {item["case"]: item for item in json.loads(datalist.read_text())["testing"]}
    item = items[heads[len(heads) // 2]["case"]]
    return [
        outlined(datalist.parent, item, work_dir / f"{name}_seed_0", name)
        for name, own in scores.items()
        if 0 in own
    ]
