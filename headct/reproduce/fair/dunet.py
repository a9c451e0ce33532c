"""D-Unet against its U-Net put to a fair test, and the leak of a split by slice as a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headct.reproduce import Setting, among
from headct.reproduce.fair.dunet_page import draw, make_page
from headct.reproduce.fair.heads import write_fair_heads
from headct.reproduce.fair.rows import SEEDS, FairOptions, FairRow, run_rows
from headct.reproduce.fair.slices import HEADS, split_slices
from tools.data.datalist import load_datalist, select_folds
from tools.data.splits import SPLITS

__all__ = ["KEYS", "NETWORKS", "ROWS", "STEPS", "Options", "reproduce"]

BUNDLE = "dunet"
Options = FairOptions

STEPS = 3000
VALIDATIONS = 8
NETWORKS: dict[str, tuple[tuple[str, ...], Mapping[str, Any]]] = {
    "U-Net": (("unet",), {"network_def#features": [8, 16, 32, 64, 128]}),
    "D-Unet": ((), {"network_def#features": [4, 8, 16, 32, 64]}),
}
"""Overlays of each network, and its width: an eighth of the paper's."""

KEYS: dict[str, Any] = {"input#size": [96, 96], "batch_size": 4, "learning_rate": 3.0e-4}
ROWS: dict[str, tuple[str, str]] = {
    f"{network} by {split}": (network, split) for network in NETWORKS for split in SPLITS
}
"""Network and split by the name of the row."""


def reproduce(setting: Setting, options: Options) -> str:
    """Train and test both networks under both splits, and return the page."""
    names = among(tuple(ROWS) if options.rows is None else options.rows, tuple(ROWS), "rows")
    heads = write_fair_heads(setting.work_dir / "data", options.anatomy, HEADS)
    places = split_slices(heads, setting.work_dir)
    shown = load_datalist(places["patient"] / "dataset.json", label_values=None)
    steps = -(-len(select_folds(shown["training"], 0, held_out=False)) // KEYS["batch_size"])
    between = -(-STEPS // steps // VALIDATIONS)  # epochs from one validation to the next
    keys = {
        **KEYS,
        "val_interval": between,
        "checkpoint_every": between * VALIDATIONS,
        "max_epochs": between * VALIDATIONS,
        "cache_dir": setting.work_dir / "cache",
        **setting.keys,
    }
    rows = {}
    for name in names:
        network, split = ROWS[name]
        overlays, own = NETWORKS[network]
        rows[name] = FairRow(overlays, {**own, "dataset_dir": places[split], "split": split}, SEEDS)
    runs = setting.work_dir / "runs"
    tables = run_rows(rows, BUNDLE, runs, keys, setting.jobs, options.finished)
    pictures = draw(tables, shown["testing"], runs, steps, setting.out)
    return make_page(setting.command, names, tables, shown, keys, steps, pictures)
