"""Abramova 2021 (`se_unet3d`) put to a fair test: where patches come from, mirrored brain, and more.

Half of the heads have blood in the ventricles too, which looks alike and is no lesion here. All rows see
equally many patches in batches of one size, so that they take equally many steps.
"""

from __future__ import annotations

import math
from typing import Any

from headct.reproduce import Setting
from headct.reproduce.fair.abramova2021_page import draw, make_page
from headct.reproduce.fair.heads import FairHeads
from headct.reproduce.fair.rows import SEEDS, FairOptions, FairRow, run_test

__all__ = ["HEADS", "KEYS", "ROWS", "Options", "reproduce"]

BUNDLE = "se_unet3d"
Options = FairOptions

HEADS = FairHeads(
    training={"iph": 18, "iph+ivh": 18},
    validation={"iph": 1, "iph+ivh": 1},
    testing={"iph": 12, "iph+ivh": 12},
    shape=(152, 184, 30),
    spacing=(1.25, 1.25, 5.0),
    lesion="iph",
)
PATCHES = 20_000
"""Patches that every row sees."""

KEYS: dict[str, Any] = {
    "roi_size": [24, 24, 8],  # 30 x 30 x 40 mm
    "overlap": 0.5,
    "network_def#features": [8, 16, 32, 64],
    "network_def#reduction": 4,  # as many hidden units of squeeze-and-excitation as at full width
    "batch_size": 16,
    "val_interval": 1,
}


def _epochs(number: int) -> dict[str, int]:
    """As many patches in all, extracted once per image and shown in so many epochs."""
    return {
        "patches_per_case": math.ceil(PATCHES / sum(HEADS.training.values()) / number),
        "max_epochs": number,
    }


ONE = _epochs(1)
ROWS: dict[str, FairRow] = {
    "none": FairRow(("sampling_none", "no_symmetric"), ONE, SEEDS),
    "brain": FairRow(("sampling_brain", "no_symmetric"), ONE, SEEDS),
    "border": FairRow(("sampling_brain_border", "no_symmetric"), ONE, SEEDS),
    "border_symmetric": FairRow(("sampling_brain_border",), ONE, SEEDS),
    "border_ivh_symmetric": FairRow(("sampling_brain_border_ivh",), ONE, SEEDS),
    "final": FairRow((), ONE, SEEDS),
    "final_before": FairRow(("sampling_only_border_and_ivh",), ONE, SEEDS),
    "unet3d": FairRow(("sampling_brain", "no_symmetric", "unet3d"), ONE),
    "focal": FairRow(("sampling_brain_border", "no_symmetric", "focal"), ONE),
    "half_width_10": FairRow(("sampling_brain_border_ivh",), {**ONE, "border_mm": 10.0}),
    "half_width_20": FairRow(("sampling_brain_border_ivh",), {**ONE, "border_mm": 20.0}),
    "distinct_a_sixth": FairRow((), _epochs(6)),
    "distinct_half": FairRow((), _epochs(2)),
    "patch_32x32x16": FairRow((), {**ONE, "roi_size": [32, 32, 16]}),
    "patch_48x48x24": FairRow((), {**ONE, "roi_size": [48, 48, 24]}),
}
"""Every row by its name; those that carry the main claim have several seeds."""


def reproduce(setting: Setting, options: Options) -> str:
    """Train and score the rows, and return the page."""
    test = run_test(setting, options, BUNDLE, ROWS, HEADS, KEYS)
    pictures = draw(test.tables, test.datalist, test.folder, setting.out)
    return make_page(
        setting.command, test.rows, test.tables, HEADS, test.keys, test.datalist, test.folder, pictures
    )
