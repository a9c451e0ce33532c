"""Li 2021 (`gan_unet2d`) put to a fair test: dilation, the mirrored slice, adversarial training."""

from __future__ import annotations

from typing import Any

from headct.reproduce import Setting
from headct.reproduce.fair.li2021_page import draw, make_page
from headct.reproduce.fair.rows import SEEDS, FairOptions, FairRow, run_test
from headct.reproduce.fair.slice_tables import seed_scores
from headct.reproduce.fair.slices import HEADS
from headct.reproduce.li2021 import SMALL_MM2

__all__ = ["KEYS", "ROWS", "STEPS", "Options", "reproduce"]

BUNDLE = "gan_unet2d"
Options = FairOptions

STEPS = 2000
"""Steps of the generator that every row takes, at least."""
SLICES = 16  # of each head and epoch
BATCH = 4
EPOCHS = -(-STEPS * BATCH // (SLICES * sum(HEADS.training.values())) // 4) * 4

KEYS: dict[str, Any] = {
    "input#size": [128, 128],
    "patches_per_case": SLICES,
    "batch_size": BATCH,
    "learning_rate": 1.0e-3,
    "network_def#features": 8,
    "network_def#encoder": "resnet18",
    "discriminator_features": 16,
    "max_epochs": EPOCHS,
    "val_interval": EPOCHS // 4,
    "pretrain_epochs": EPOCHS // 2,
    "pretrain_patience": EPOCHS,  # no row ends early
    "patience": EPOCHS,
    "small_mm2": SMALL_MM2,
}
ROWS: dict[str, FairRow] = {
    "UNet6": FairRow(("unet6",), seeds=SEEDS),
    "UNet6Gan": FairRow((), seeds=SEEDS),
    "UNet6Dil": FairRow(("unet6_dil",), seeds=SEEDS),
    "UNet6Flip": FairRow(("unet6_flip",), seeds=SEEDS),
    "DeepLabV3+": FairRow(("deeplabv3plus",)),
    "U-Net": FairRow(("unet",), {"network_def#features": 16, "learning_rate": 2.0e-4}),
    "UNet6GanReLU": FairRow((), {"network_def#activation": "relu"}),
    "UNet6FlipD": FairRow(("unet6_flip_d",)),
}
"""Every row by its name; those that carry a claim have several seeds."""


def reproduce(setting: Setting, options: Options) -> str:
    """Train and score the networks, and return the page."""
    test = run_test(setting, options, BUNDLE, ROWS, HEADS, KEYS)
    scores = seed_scores(test)
    pictures = draw(scores, test.datalist, test.folder, setting.out)
    return make_page(setting.command, tuple(test.rows), scores, test.keys, pictures)
