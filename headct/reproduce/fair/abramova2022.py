"""Abramova 2022 (`instance2022` of `se_unet3d`) put to a fair test: where SE stands, depth, normalisation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from headct.reproduce import Setting
from headct.reproduce.fair.abramova2022_page import draw, make_page
from headct.reproduce.fair.rows import SEEDS, FairOptions, FairRow, row_configurations, run_test
from headct.reproduce.fair.slices import HEADS
from headct.scores.tables import read_csv

__all__ = ["KEYS", "ROWS", "UNFILTERED", "Options", "reproduce"]

BUNDLE = "se_unet3d"
Options = FairOptions

PATCHES = 10_000
KEYS: dict[str, Any] = {
    "roi_size": [32, 32, 16],
    "step": [16, 16, 8],
    "amp": False,  # in bfloat16 on a CPU, levels of 2 voxels cannot be trained, see docs/training.md
    "network_def#features": [8, 16, 32, 64, 128],
    "network_def#reduction": 4,  # as many hidden units of squeeze-and-excitation as at full width
    "batch_size": 16,
    "patches_per_case": math.ceil(PATCHES / sum(HEADS.training.values())),
    "max_epochs": 1,
    "val_interval": 1,
}
ROWS: dict[str, FairRow] = {
    "final": FairRow(("instance2022",), seeds=SEEDS),
    "se_none": FairRow(("instance2022",), {"network_def#se": "none"}, SEEDS),
    "se_encoder": FairRow(("instance2022", "instance2022_se_encoder"), seeds=SEEDS),
    "depth_3": FairRow(
        ("instance2022",),
        {"network_def#features": [8, 16, 32, 64], "network_def#dropout": [0.25, 0.5, 0.5]},
        SEEDS,
    ),
    "se_ends": FairRow(("instance2022", "instance2022_se_ends")),
    "se_blocks": FairRow(("instance2022", "instance2022_se_blocks")),
    "minmax": FairRow(("instance2022", "instance2022_minmax")),
    "symmetric": FairRow(("instance2022",), {"input#symmetric": True}),
}
"""Every row by its name; those that carry a claim have several seeds."""

UNFILTERED = "final_unfiltered"
"""The weights of `final`, scored without the filter of small components."""


def reproduce(setting: Setting, options: Options) -> str:
    """Train and score the rows, and return the page."""
    test = run_test(setting, options, BUNDLE, ROWS, HEADS, KEYS)
    again: dict[int, Any] = {}
    for (name, seed), one in row_configurations(test.rows, BUNDLE).items():
        run = one.run_in(test.folder, test.keys)
        done = Path(run.folder, "unfiltered", "run.json").is_file()
        if name == "final" and seed in test.tables.get(name, {}) and (done or not options.finished):
            scores = run.score_again("unfiltered", min_component=0.0)
            rows_again = read_csv(scores / "metrics" / "per_case.csv")
            again[seed] = sorted(rows_again, key=lambda row: str(row["case"]))
    if again:
        test.tables[UNFILTERED] = again
    pictures = draw(test.tables, setting.out)
    return make_page(setting.command, test.tables, tuple(test.rows), HEADS, test.keys, pictures)
