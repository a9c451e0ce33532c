"""D-Unet against U-Net: table 1, its choice of an epoch and its test, split by slice and by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from headct.reproduce import Setting, among
from headct.reproduce.page import markdown, provenance
from headct.reproduce.slices_data import SliceData, slice_data
from headct.runs.bundle_run import BundleRun, run_all
from headct.runs.epochs import CHECKPOINT, best_epoch, epoch_rows, epoch_table
from headct.runs.find_bundle import check_keys, config_files, find_bundle
from headct.scores.tables import read_csv
from tools.core.markdown import table
from tools.core.tables import Row
from tools.data.splits import LEAK_WARNING, SPLITS
from tools.metrics.overlap import overlap_scores
from tools.report.summary import mean_sd

__all__ = ["ARCHITECTURES", "Options", "Result", "make_page", "reproduce"]

BUNDLE = "dunet"
#: Overlays by architecture, and the paper's best line: epochs, validation IoU and Dice (standard deviation).
ARCHITECTURES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "U-Net": (("unet",), ("600", "0.65 (0.04)", "0.79 (0.03)")),
    "D-Unet": ((), ("800", "0.72 (0.05)", "0.84 (0.03)")),
}
PAPER_TEST = "IoU 0.86, Dice 0.89"

FOLDS, TEST_SHARE = 10, 0.1
QUICK_FOLDS, QUICK_ONLY = 3, (0, 1)
#: `--quick`: a third of the resolution, an eighth of the channels, 20 epochs of a higher learning rate.
QUICK: dict[str, Any] = {
    "input#size": [96, 96], "batch_size": 16, "max_epochs": 20, "checkpoint_every": 5, "val_interval": 5,
    "learning_rate": 1.0e-3,
}  # fmt: skip
QUICK_FEATURES = {"U-Net": [8, 16, 32, 64, 128], "D-Unet": [4, 8, 16, 32, 64]}
QUICK_PHANTOM: dict[str, Any] = {
    "cases": 15, "seed": 20, "kind": "any", "shape": [128, 128, 16], "spacing": [1.7, 1.7, 9.0],
}  # fmt: skip
FULL: dict[str, Any] = {"val_interval": 100}
FULL_PHANTOM: dict[str, Any] = {
    "cases": 82, "seed": 20, "kind": "any", "shape": [512, 512, 30], "spacing": [0.42, 0.42, 5.0],
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One architecture under one split.

    Args:
        epochs: of `headct.runs.epochs.epoch_rows`.
        tests: rows of the test slices, one list for each fold's checkpoint of the chosen epoch.
    """

    epochs: Sequence[Row]
    tests: Sequence[Sequence[Row]]


@dataclass(frozen=True)
class Options:
    """What can be chosen besides `Setting`.

    Args:
        root: your copy of CT-ICH 1.0.0; None for phantoms in its layout.
        splits: by slice, by patient, or both.
        folds: of each split; None for as many as the size has.
        only_folds: numbers of those to run; None for those of the size.
    """

    root: str | Path | None = None
    splits: Sequence[str] = ("slice", "patient")
    folds: int | None = None
    only_folds: Sequence[int] | None = None


def reproduce(setting: Setting, options: Options) -> str:
    """Train both architectures on every fold of both splits, choose the epoch, test; return the page."""
    splits = among(options.splits, SPLITS, "splits")
    folds = options.folds or (QUICK_FOLDS if setting.quick else FOLDS)
    size = QUICK_ONLY if setting.quick else range(folds)
    only = among(size if options.only_folds is None else options.only_folds, range(folds), "only_folds")
    overrides = dict(setting.keys)
    phantom = overrides.pop("phantom", QUICK_PHANTOM if setting.quick else FULL_PHANTOM)
    keys = {**(QUICK if setting.quick else FULL), "cache_dir": setting.work_dir / "cache", **overrides}
    folder, results, data = find_bundle(BUNDLE), {}, {}
    for overlays, _ in ARCHITECTURES.values():
        check_keys(folder, config_files(folder, overlays), keys)
    for split in splits:
        place = setting.work_dir / f"by_{split}"
        data[split] = slice_data(
            setting.work_dir, phantom, options.root, folds, split, TEST_SHARE, balance=True
        )
        own = {**keys, "dataset_dir": data[split].write(place / "data"), "split": split}
        runs = {name: _runs(folder, name, place, own, only, setting.quick) for name in ARCHITECTURES}
        run_all([run for several in runs.values() for run in several], setting.jobs)
        for name, several in runs.items():
            rows = epoch_rows([run.folder for run in several])
            tests = [_tested(run, best_epoch(rows)) for run in several]
            results[split, name] = Result(rows, tests)
    return make_page(setting.command, data, results, len(only), keys, setting.quick)


def _runs(
    folder: Path,
    name: str,
    place: Path,
    keys: Mapping[str, Any],
    folds: Sequence[int],
    quick: bool,
) -> list[BundleRun]:
    """Trainings of one architecture, one for each fold that validates."""
    files = config_files(folder, ARCHITECTURES[name][0])
    small = {"network_def#features": QUICK_FEATURES[name]} if quick else {}
    list_ = (Path(keys["dataset_dir"]) / "dataset.json",)
    return [
        BundleRun(
            folder, files, place / name / f"fold_{fold}", f"{name}, {place.name}, fold {fold}",
            {**small, **keys, "fold": fold}, list_,
        )
        for fold in folds
    ]  # fmt: skip


def _tested(run: BundleRun, epoch: int) -> list[Row]:
    """Test slices scored with a checkpoint of one epoch."""
    checkpoint = run.folder / "models" / CHECKPOINT.format(epoch)
    out = run.score_again(f"test_epoch_{epoch}", ckpt_path=checkpoint)
    return read_csv(out / "slice_metrics" / "per_case.csv")


def make_page(
    command: str,
    data: Mapping[str, SliceData],
    results: Mapping[tuple[str, str], Result],
    folds: int,
    keys: Mapping[str, Any],
    quick: bool,
) -> str:
    """The page.

    Args:
        command: that ran it.
        data: by split.
        results: by split and architecture.
        folds: number of folds that were trained.
        keys: of all configurations.
        quick: whether this is `--quick`.
    """
    first = next(iter(data.values()))
    settings = ", ".join(f"{k} {v}" for k, v in keys.items() if not k.endswith("_dir"))
    more = {"settings": settings}
    if quick:
        more["left out"] = (
            "slices of 96x96 instead of 256x256 pixels, an eighth of the channels, "
            f"{keys['max_epochs']} epochs at ten times the paper's learning rate instead of 1000, "
            f"{folds} folds"
        )
    split = "; ".join(one.split for one in data.values())
    cases = f"{first.cases()} (as many slices without as with)"
    parts: list[Any] = [provenance(command, first.text, split, cases, more)]
    parts += ["## Best epochs", _best_table(results), LEAK_WARNING]
    parts.append(
        "The epoch is chosen by the mean of validation IoU and Dice over the folds. Scores are means over "
        "images, an image without hemorrhage counting 1 if nothing is found and 0 else. The paper's test "
        f"figures ({PAPER_TEST}) cannot both be those of one pooled set, since then Dice = 2 IoU / (1 + IoU)."
    )
    parts += ["## Held-out test at the chosen epoch", _test_table(results)]
    for (by, name), result in results.items():
        parts += [f"## {name}, split by {by} (table 1)", epoch_table(result.epochs)]
    return markdown("D-Unet against U-Net", *parts)


def _best_table(results: Mapping[tuple[str, str], Result]) -> list[str]:
    lines = []
    for (by, name), result in results.items():
        best = best_epoch(result.epochs)
        row = next(row for row in result.epochs if row["epoch"] == best)
        ours = [_with_sd(row["val_mean_iou"], row["val_mean_iou_sd"])]
        ours.append(_with_sd(row["val_mean_dice"], row["val_mean_dice_sd"]))
        paper = ARCHITECTURES[name][1] if by == "slice" else ("", "", "")
        lines.append([name, by, *paper, str(best), *ours])
    what = [f"{score}, {whose}" for whose in ("paper", "ours") for score in ("epochs", "IoU", "Dice")]
    return table(["", "split by", *what], lines)


def _test_table(results: Mapping[tuple[str, str], Result]) -> list[str]:
    """Means over the folds' networks; in brackets the standard deviation over them."""
    lines = []
    for (by, name), result in results.items():
        bleeding = [[row for row in rows if row["hit"] is not None] for rows in result.tests]
        cells = [_over_folds(result.tests, score) for score in ("iou", "dice")]
        cells += [_over_folds(bleeding, score) for score in ("iou", "dice")]
        pooled = [overlap_scores(_counts(rows)) for rows in result.tests]
        for score in ("iou", "dice"):
            cells.append(_with_sd(*mean_sd([float(scores[score]) for scores in pooled])))
        cells.append(_over_folds(bleeding, "hit"))
        lines.append([name, by, str(len(result.tests[0])), *cells])
    head = ["", "split by", "slices", "IoU", "Dice", "IoU, with hemorrhage", "Dice, with hemorrhage"]
    return table([*head, "IoU, pooled", "Dice, pooled", "location accuracy"], lines)


def _counts(rows: Sequence[Row]) -> torch.Tensor:
    return torch.tensor([sum(int(row[key]) for row in rows) for key in ("tp", "fp", "fn")])


def _over_folds(tests: Sequence[Sequence[Row]], column: str) -> str:
    means = [mean_sd([float(row[column]) for row in rows])[0] for rows in tests if rows]
    return _with_sd(*mean_sd(means)) if means else "no case"


def _with_sd(mean: float, sd: float | None) -> str:
    return f"{mean:.3f}" + ("" if sd is None else f" ({sd:.3f})")
