"""Hssayeni 2020 (`dunet`, variants `threshold`, `hssayeni_slices`, `hssayeni_windows`): tables 5 and 6."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from headct.reproduce import Setting, among
from headct.reproduce.configurations import Configuration, run_configurations
from headct.reproduce.page import markdown, provenance
from headct.reproduce.slices_data import SliceData, slice_data
from headct.runs.find_bundle import check_keys, config_files, find_bundle
from headct.scores.subgroups import age_groups, group_table, patient_scores, spread_table, type_groups
from headct.scores.tables import read_csv
from tools.core.markdown import table
from tools.core.tables import Row
from tools.metrics.slice_detection import THRESHOLDS, slice_detection_table
from tools.report.summary import mean_sd

__all__ = ["ROWS", "Options", "make_page", "reproduce"]

BUNDLE = "dunet"

#: The paper's three experiments: overlay of the bundle, and what the paper says of the test (Jaccard, Dice).
ROWS: dict[str, tuple[str, float | None, float | None]] = {
    "threshold": ("threshold", 0.08, 0.135),
    "slices": ("hssayeni_slices", 0.0, 0.0),
    "windows": ("hssayeni_windows", 0.218, 0.315),
}
TITLES = {"threshold": "threshold", "slices": "U-Net on whole slices", "windows": "U-Net on windows"}

PAPER_SPREAD = table(
    ["36 patients", "Jaccard", "Dice", "sensitivity", "specificity"],
    [
        ["Min", "0.000", "0.000", "0.500", "0.000"],
        ["Max", "0.528", "0.677", "1.000", "1.000"],
        ["STD", "0.163", "0.211", "0.099", "0.299"],
        ["Average", "0.218", "0.315", "0.973", "0.504"],
    ],
)
PAPER_DETECTION = {
    0.5: (97.2, 50.4, 56.6),
    0.6: (88.7, 62.2, 65.9),
    0.7: (77.6, 74.5, 76.0),
    0.8: (73.7, 82.4, 82.5),
    0.9: (63.1, 88.6, 87.0),
}
PAPER_TYPES = "SDH 0.52, EDH 0.35, IVH 0.30, IPH 0.28, SAH 0.23"
PAPER_AGES = "under 18 years 0.321, 18 years and older 0.309"

FOLDS = 5
QUICK_FOLDS = (0,)
#: `--quick`: a quarter of the resolution (49 windows of 48x48 pixels, 24 apart, in slices of 192x192),
#: an eighth of its channels, a higher learning rate, one test fold of five.
QUICK: dict[str, Any] = {"input#size": [160, 160], "batch_size": 16, "max_epochs": 30, "val_interval": 5}
QUICK_NETWORK: dict[str, Any] = {"network_def#features": [8, 16, 32, 64, 128], "learning_rate": 1.0e-3}
QUICK_WINDOWS: dict[str, Any] = {
    "input#size": [192, 192], "window_size": 48, "window_stride": 24, "close_open": 3, "batch_size": 32,
}  # fmt: skip
QUICK_PHANTOM: dict[str, Any] = {
    "cases": 15, "seed": 20, "kind": "any", "shape": [128, 128, 16], "spacing": [1.7, 1.7, 9.0],
}  # fmt: skip
FULL_PHANTOM: dict[str, Any] = {
    "cases": 82, "seed": 20, "kind": "any", "shape": [512, 512, 30], "spacing": [0.42, 0.42, 5.0],
}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What can be chosen besides `Setting`.

    Args:
        root: your copy of CT-ICH 1.0.0; None for phantoms in its layout.
        rows: keys of `ROWS`.
        folds: by patient.
        only_folds: numbers of those to test on; None for those of the size.
    """

    root: str | Path | None = None
    rows: Sequence[str] = tuple(ROWS)
    folds: int = FOLDS
    only_folds: Sequence[int] | None = None


def reproduce(setting: Setting, options: Options) -> str:
    """Run the experiments on patient-wise folds (three train, one validates, one tests); return the page."""
    names, folds = among(options.rows, tuple(ROWS), "rows"), options.folds
    size = QUICK_FOLDS if setting.quick else range(folds)
    chosen = among(size if options.only_folds is None else options.only_folds, range(folds), "only_folds")
    overrides = dict(setting.keys)
    phantom = overrides.pop("phantom", QUICK_PHANTOM if setting.quick else FULL_PHANTOM)
    for name in names:
        check_keys(find_bundle(BUNDLE), config_files(find_bundle(BUNDLE), (ROWS[name][0],)), overrides)
    data = slice_data(setting.work_dir, phantom, options.root, folds)
    keys = {**(QUICK if setting.quick else {}), "cache_dir": setting.work_dir / "cache"}
    configurations = [_configuration(name, setting.quick, overrides) for name in names]
    scores: dict[str, list[Row]] = {name: [] for name in names}
    counts: dict[str, torch.Tensor] = {name: torch.zeros(len(THRESHOLDS), 4) for name in names}
    for fold in chosen:
        folder = setting.work_dir / f"fold_{fold}"
        own = {"dataset_dir": data.write(folder / "data", fold), "fold": (fold + 1) % folds}
        run_configurations(configurations, folder, {**keys, **own}, jobs=setting.jobs)
        for name in names:
            found = folder / name / "run" / "eval" / "slice_metrics"
            scores[name] += [{**row, "fold": fold} for row in read_csv(found / "per_case.csv")]
            counts[name] += _detection(found / "slice_detection.csv")
    shown = {**keys, **overrides}
    return make_page(setting.command, data, len(chosen), scores, counts, shown, setting.quick)


def _configuration(name: str, quick: bool, keys: Mapping[str, Any]) -> Configuration:
    """One experiment; what `--quick` shrinks can be overridden."""
    own: dict[str, Any] = {}
    if quick and name != "threshold":
        own |= QUICK_NETWORK | (QUICK_WINDOWS if name == "windows" else {})
    return Configuration(name, BUNDLE, (ROWS[name][0],), {**own, **keys})


def _detection(path: Path) -> torch.Tensor:
    """Slices counted at each threshold, (thresholds, 4): tp, fp, tn, fn."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return torch.tensor([[float(row[key]) for key in ("tp", "fp", "tn", "fn")] for row in rows])


def make_page(
    command: str,
    data: SliceData,
    tested: int,
    scores: Mapping[str, Sequence[Row]],
    counts: Mapping[str, torch.Tensor],
    keys: Mapping[str, Any],
    quick: bool,
) -> str:
    """The page.

    Args:
        command: that ran it.
        data: what was run on.
        tested: number of folds that were tested on.
        scores: rows of slices of the test folds by experiment.
        counts: detected slices at each threshold, (thresholds, 4), by experiment.
        keys: of all configurations.
        quick: whether this is `--quick`.
    """
    settings = ", ".join(f"{k} {v}" for k, v in keys.items() if not k.endswith("_dir"))
    more = {"settings": settings or "the paper's"}
    if quick:
        more["left out"] = (
            "four test folds of five, and most of the paper's size: slices of 160x160 pixels instead of "
            "640x640, windows of 48x48 instead of 160x160, an eighth of the channels, "
            f"{keys.get('max_epochs')} epochs at a hundred times its learning rate instead of 150"
        )
    split = f"{data.split}; one fold tests, one validates, the others train; {tested} of them tested"
    parts: list[Any] = [provenance(command, data.text, split, data.cases(), more)]
    parts += ["## The three experiments (sections 5 and 6)", _experiments(scores)]
    parts.append(
        "Mean over the test slices with hemorrhage, and over patients of each one's mean. The paper's values "
        "for whole slices are what all-black masks score. The table of thresholds counts a slice as found by "
        "the probabilities themselves, all others by the masks after closing and opening."
    )
    for name, rows in scores.items():
        patients = patient_scores(rows, data.patients)
        title = TITLES[name]
        parts += [f"## {title}: by patient" + (" (table 5)" if name == "windows" else "")]
        if name == "windows":
            parts += ["The paper, on CT-ICH:", PAPER_SPREAD, "Here:"]
        parts.append(spread_table(patients))
        if name == "windows":
            parts += [
                "## Slices by probability threshold (table 6), in percent",
                _detection_table(counts[name]),
            ]
            parts += ["## Dice of the patients who have a type", f"The paper: {PAPER_TYPES}."]
            parts.append(group_table(patients, type_groups()))
            parts += ["## Dice by age", f"The paper: {PAPER_AGES}.", group_table(patients, age_groups())]
    return markdown("Hssayeni 2020: U-Net on windows of CT slices, and two baselines", *parts)


def _experiments(scores: Mapping[str, Sequence[Row]]) -> list[str]:
    lines = []
    for name, (_, jaccard, dice) in ROWS.items():
        paper = ["" if value is None else f"{value:g}" for value in (jaccard, dice)]
        if name not in scores:
            lines.append([TITLES[name], *paper, "not run", "", "", ""])
            continue
        bleeding = [row for row in scores[name] if row["hit"] is not None]
        patients = [row for row in patient_scores(scores[name]) if row["dice"] is not None]
        cells = [_mean(rows, score) for rows in (bleeding, patients) for score in ("iou", "dice")]
        lines.append([TITLES[name], *paper, *cells])
    ours = [f"{score}, {over}" for over in ("slices", "patients") for score in ("Jaccard", "Dice")]
    return table(["", "Jaccard, paper", "Dice, paper", *ours], lines)


def _mean(rows: Sequence[Row], column: str) -> str:
    if not rows:
        return "no case"
    mean, sd = mean_sd([float(row[column]) for row in rows])
    return f"{mean:.3f}" + ("" if sd is None else f" ± {sd:.3f}") + f" ({len(rows)})"


def _detection_table(counts: torch.Tensor) -> list[str]:
    names = ("sensitivity", "specificity", "accuracy")
    lines = []
    for row in slice_detection_table(counts.long()):
        ours = ["none" if row[name] is None else f"{100 * row[name]:.1f}" for name in names]
        paper = [f"{value:.1f}" for value in PAPER_DETECTION[round(row["threshold"], 1)]]
        lines.append(
            [f"{row['threshold']:.1f}", *(cell for pair in zip(paper, ours, strict=True) for cell in pair)]
        )
    head = ["threshold", *(f"{name}, {whose}" for name in names for whose in ("paper", "ours"))]
    return table(head, lines)
