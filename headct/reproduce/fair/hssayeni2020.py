"""Hssayeni 2020 (`dunet`) put to a fair test: do windows learn where whole slices fail?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headct.reproduce import Setting
from headct.reproduce.fair.hssayeni2020_page import draw, make_page
from headct.reproduce.fair.rows import SEEDS, FairOptions, FairRow, run_test
from headct.reproduce.fair.slice_tables import seed_scores
from headct.reproduce.fair.slices import HEADS
from headct.reproduce.li2021 import SMALL_MM2

__all__ = ["KEYS", "NETWORK", "ROWS", "STEPS", "Options", "reproduce"]

BUNDLE = "dunet"
Options = FairOptions

STEPS = 3000
"""Steps that both networks take, at least."""
EPOCH = 64  # steps of an epoch, as the bundle has with windows
EPOCHS = -(-STEPS // EPOCH // 4) * 4
SIDE, WINDOW = 192, 48
SLICES, WINDOWS = 2, 32  # of a batch: as many pixels, in the paper and here
TRAINED = sum(HEADS.training.values())

KEYS: dict[str, Any] = {
    "input#size": [SIDE, SIDE],
    "amp": False,  # slices and network are so small that bfloat16 is no faster
    "learning_rate": 1.0e-3,
    "max_epochs": EPOCHS,
    "val_interval": EPOCHS // 4,
    "checkpoint_every": EPOCHS,
    "patience": EPOCHS,  # no row ends early
    "small_mm2": SMALL_MM2,
}
NETWORK: dict[str, Any] = {
    "network_def#features": [8, 16, 32, 64, 128],
    "close_open": 3,
}
"""Keys of both networks."""
ROWS: dict[str, FairRow] = {
    "threshold": FairRow(("threshold",)),
    "slices": FairRow(
        ("hssayeni_slices",),
        {**NETWORK, "batch_size": SLICES, "patches_per_case": EPOCH * SLICES // TRAINED},
        SEEDS,
    ),
    "windows": FairRow(
        ("hssayeni_windows",),
        {
            **NETWORK,
            "window_size": WINDOW,
            "window_stride": WINDOW // 2,
            "batch_size": WINDOWS,
            "patches_per_case": EPOCH * WINDOWS // TRAINED,
        },
        SEEDS,
    ),
}
"""The paper's three experiments; the threshold is found by a search without chance."""


def reproduce(setting: Setting, options: Options) -> str:
    """Run the experiments, and return the page."""
    test = run_test(setting, options, BUNDLE, ROWS, HEADS, KEYS)
    scores = seed_scores(test)
    tested = {item["case"]: item for item in json.loads(test.datalist.read_text())["testing"]}
    folder = test.datalist.parent
    ages = {case: json.loads(Path(folder, item["truth"]).read_text())["age"] for case, item in tested.items()}
    pictures = draw(scores, folder, tested, test.folder, setting.out)
    about = {**test.keys, "steps": EPOCH, "window": WINDOW, "slices": SLICES, "windows": WINDOWS}
    return make_page(setting.command, tuple(test.rows), scores, about, ages, pictures)
