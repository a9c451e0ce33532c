"""The page of the fair test of D-Unet: both networks, the leak, and the curves of their training."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headct.reproduce.dunet import ARCHITECTURES
from headct.reproduce.fair.rows import Runs, group_mean, not_run, seed_paired_table, with_sd
from headct.reproduce.fair.slices import HEADS, by_head
from headct.reproduce.outlines import draw_outlines, outlined_slices
from headct.reproduce.page import markdown, provenance
from headct.runs.curves import read_scalars
from tools.core.markdown import table
from tools.core.tables import Row
from tools.data.splits import SPLITS
from tools.report.plots import save_figure

__all__ = ["draw", "make_page"]

METHOD = """\
Both splits test on the same {} slices: every other slice of {} test heads, made of label maps that no
training head is made of. Split by patient, no slice of these heads is trained on; split by slice, the slices
between the tested ones are, in place of as many others. Both train on {} slices, half of them with
hemorrhage, for {} steps in batches of {}, and take the epoch with the highest Dice on slices of {} other
heads. An eighth of the paper's channels, slices of {} pixels instead of 256x256, and three times its
learning rate.

Scores are means over slices and seeds, with the standard deviation over seeds behind ±; a row without ± has
one seed. A slice without hemorrhage counts 1 if nothing is found there, else 0. Neighbouring slices are
alike, so that paired tests compare the mean of each head's slices with hemorrhage ({} heads), over the seeds
that both rows have; p-values are not corrected for their number."""


def make_page(
    command: str,
    rows: Collection[str],
    tables: Runs,
    shown: Mapping[str, Sequence[Mapping[str, Any]]],
    keys: Mapping[str, Any],
    steps: int,
    pictures: Sequence[Path] = (),
) -> str:
    """The page of what was run.

    Args:
        command: that ran it.
        rows: names of all that were asked for.
        tables: rows of `per_case.csv` (single slices), by row of the table and seed.
        shown: datalist of the split by patient.
        keys: of all configurations.
        steps: batches of an epoch.
        pictures: to show, in the folder of the page.
    """
    heads = {
        name: {seed: by_head(rows, ("dice",)) for seed, rows in seeds.items()}
        for name, seeds in tables.items()
    }
    training = [item for item in shown["training"] if item["fold"] != 0]
    tested = {str(item["patient"]) for item in shown["testing"]}
    size = "x".join(map(str, keys["input#size"]))
    about = provenance(
        command,
        HEADS.words(),
        "by patient and by slice, tested on the same slices of other people than the training heads",
        f"{len(shown['testing'])} test slices, {sum(bool(item['hemorrhage']) for item in shown['testing'])} "
        "with "
        "hemorrhage",
        {"training": f"{keys['max_epochs']} epochs of {steps} steps, Adam {keys['learning_rate']:g}"},
    )
    method = METHOD.format(
        len(shown["testing"]), len(tested), len(training), steps * keys["max_epochs"], keys["batch_size"],
        sum(HEADS.validation.values()), size, len(next(iter(next(iter(heads.values())).values()))),
    )  # fmt: skip
    networks = [(f"U-Net by {split}", f"D-Unet by {split}") for split in SPLITS]
    leaks = [(f"{name} by patient", f"{name} by slice") for name in ARCHITECTURES]
    parts: list[str | Sequence[str]] = [
        about,
        method,
        not_run(rows, tables),
        "## Both networks",
        _scores(tables),
        seed_paired_table(heads, networks),
        "## The leak of a split by slice",
        "Dice of slices with hemorrhage: what the same network scores more on the same slices, when it was "
        "trained on "
        "their neighbours.",
        _leaks(tables, leaks),
        seed_paired_table(heads, leaks),
        *(f"![{path.stem}]({path.name})" for path in pictures),
    ]
    return markdown("D-Unet put to a fair test", *parts)


def _scores(tables: Runs) -> list[str]:
    lines = []
    for name, seeds in tables.items():
        paper = ARCHITECTURES[name.split(" by ")[0]][1] if name.endswith("slice") else ("", "", "")
        bleeding = {seed: [row for row in rows if row["hit"] is not None] for seed, rows in seeds.items()}
        cells = [name, str(len(seeds)), paper[2], with_sd(bleeding, group_mean("dice"))]
        cells += [paper[1], with_sd(bleeding, group_mean("iou")), with_sd(bleeding, group_mean("hit"))]
        cells += [with_sd(seeds, group_mean("dice")), with_sd(seeds, group_mean("false_alarm"))]
        lines.append(cells)
    head = ["", "seeds", "Dice, paper (validation)", "Dice, with hemorrhage", "IoU, paper (validation)"]
    return table(
        [*head, "IoU, with hemorrhage", "location accuracy", "Dice, all slices", "false alarms"], lines
    )


def _leaks(tables: Runs, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Seed by seed, the second of a pair less the first."""
    lines = []
    for first, second in pairs:
        common = [seed for seed in tables.get(first, {}) if seed in tables.get(second, {})]
        gains = [
            _bleeding_dice(tables[second][seed]) - _bleeding_dice(tables[first][seed]) for seed in common
        ]
        if gains:
            each = ", ".join(f"{gain:+.3f}" for gain in gains)
            spread = f" ± {statistics.stdev(gains):.3f}" if len(gains) > 1 else ""
            lines.append([first.split(" by ")[0], f"{statistics.fmean(gains):+.3f}{spread}", each])
    return table(["", "leak", "seed by seed"], lines) if lines else []


def _bleeding_dice(rows: Sequence[Row]) -> float:
    return statistics.fmean(float(row["dice"]) for row in rows if row["hit"] is not None)


def draw(
    tables: Runs, tested: Sequence[Mapping[str, Any]], work_dir: Path, steps: int, out: Path
) -> list[Path]:
    """Curves of the training (figure 3), and outlines on slices of a test head (figure 4).

    Args:
        tables: rows of `per_case.csv`, by row of the table and seed.
        tested: entries of the test slices.
        work_dir: folder of the runs.
        steps: batches of an epoch.
        out: folder of the pictures.
    """
    paths = [_curves(tables, work_dir, steps, out / "dunet_fair.png")]
    first = next(iter(tables.values())).get(0)
    heads = sorted(by_head(first, ("dice",)), key=lambda row: row["dice"]) if first else []
    if heads:
        head = heads[len(heads) // 2]["case"]  # in the middle of the first row's Dice
        items = [item for item in tested if item["patient"] == head and item["hemorrhage"]]
        shown = [name for name, seeds in tables.items() if 0 in seeds]
        cases = [outlined_slices(Path(), items, work_dir / f"{name}_seed_0", name) for name in shown]
        paths.append(draw_outlines(cases, out / "dunet_fair_slices.png"))
    return paths


def _curves(tables: Runs, work_dir: Path, steps: int, path: Path) -> Path:
    """Dice of training batches and of validation slices by step, a panel for each network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    axes = dict(zip(ARCHITECTURES, figure.subplots(1, len(ARCHITECTURES), sharey=True), strict=True))
    for name, seeds in tables.items():
        network, split = name.split(" by ")
        colour = {"patient": "#1f5fbf", "slice": "#c0392b"}[split]
        for tag, style in (("train_mean_dice", ":"), ("val_mean_dice", "-")):
            curves = [
                read_scalars(work_dir / f"{name}_seed_{seed}" / "run" / "eval").get(tag) for seed in seeds
            ]
            known = [curve for curve in curves if curve is not None and len(curve[0])]
            if known:
                shortest = min(len(values) for _, values in known)
                mean = np.mean([values[:shortest] for _, values in known], axis=0)
                label = f"by {split}, {'training' if style == ':' else 'validation'}"
                axes[network].plot(known[0][0][:shortest] * steps, mean, style, color=colour, label=label)
    for network, axis in axes.items():
        axis.set(title=network, xlabel="steps", ylim=(0, 1))
        axis.grid(alpha=0.25)
        if axis.get_lines():
            axis.legend(frameon=False, fontsize=8)
    axes["U-Net"].set_ylabel("Dice, mean over seeds")
    return save_figure(figure, path, dpi=90)
