"""Li 2021: tables I and II, figures 10, 11 and 14 to 16, on synthetic heads.

Where the environment variable HEADCT_REAL_DATA names a folder with `ct_ich_v1.0.0_sample` (or all of CT-ICH
1.0.0 under that name), the networks are scored on its slices too, in a table of its own. Nothing is trained
on them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headct.datasets import prepare
from headct.reproduce import Setting, among
from headct.reproduce.configurations import Configuration, run_configurations
from headct.reproduce.li2021_page import Model, draw, make_page
from headct.reproduce.slice_scores import Scores
from headct.runs.find_bundle import BUNDLES
from tools.core.errors import InputError
from tools.core.tables import Row, write_json

__all__ = ["MODELS", "Options", "reproduce"]

SMALL_MM2 = 200.0
"""Area in mm2 up to which the lesion of a slice counts as small. The paper's neurologists judged by eye."""

REAL = "ct_ich_v1.0.0_sample"

RESNET = "ResNet-50"

MODELS: dict[str, Model] = {
    "UNet10": Model(("unet10",), (0.9577, 0.5510), bench="unet10"),
    "UNet10Gan": Model(("unet10_gan",), (0.9577, 0.5102)),
    "UNet6": Model(("unet6",), (0.9577, 0.5510)),
    "UNet6Gan": Model((), (0.9155, 0.5102), ms=(172.1, 163.7), bench="unet6"),
    "UNet6Dil": Model(("unet6_dil",), (0.9718, 0.5306), bench="unet6_dil"),
    "UNet6Flip": Model(("unet6_flip",), (0.9155, 0.4898)),
    "UNet6FlipD": Model(("unet6_flip_d",), (0.9014, 0.3061)),
    "UNet6Incep": Model((), (0.9859, 0.6735), "unetpp_pretrained", backbone="Inception-v4"),
    "UNet6Vgg": Model(("vgg",), (0.9437, 0.4498), "unetpp_pretrained", backbone="VGG16"),
    "Pix2Pix7": Model(("pix2pix7",), bench="pix2pix7"),
    "DeepLabV3+": Model(("deeplabv3plus",), ms=(311.6, 302.1), bench="deeplabv3plus", backbone=RESNET),
    "FCN": Model(("fcn",), ms=(201.3, 197.9), bench="fcn", backbone=RESNET),
    "PSPNet": Model(("pspnet",), ms=(188.2, 179.2), bench="pspnet", backbone=RESNET),
    "RefineNet": Model(("refinenet",), ms=(298.5, 287.5), bench="refinenet", backbone=RESNET),
    "SegNet": Model(("segnet",), ms=(279.2, 257.3), bench="segnet", backbone="VGG16's layers"),
    "U-Net": Model(("unet",), ms=(156.4, 158.2), bench="unet"),
}
#: `--quick`: every network, but narrow ones on coarse slices, for few epochs.
QUICK: dict[str, Any] = {
    "phantom": {
        "cases": 16, "test_cases": 10, "seed": 7, "kind": "any", "folds": 4,
        "shape": [96, 96, 26], "spacing": [2.2, 2.2, 6.0],
    },
    "input#size": [96, 96],
    "patches_per_case": 8,
    "batch_size": 8,
    "learning_rate": 1.0e-3,
    "max_epochs": 10,
    "val_interval": 2,
}  # fmt: skip
QUICK_GAN: dict[str, Any] = {
    "pretrain_epochs": 6,
    "network_def#features": 16,
    "discriminator_features": 16,
    "network_def#encoder": "resnet18",
}
PIX2PIX = {"input#size": [128, 128]}  # what its seven steps down need
FULL: dict[str, Any] = {
    "phantom": {
        "cases": 60, "test_cases": 30, "seed": 7, "kind": "any", "folds": 5,
        "shape": [256, 256, 32], "spacing": [0.9, 0.9, 5.0],
    },
}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What can be chosen besides `Setting`.

    Args:
        rows: keys of `MODELS`; None for all.
        timing: also measure the time per slice (table II).
    """

    rows: Sequence[str] | None = None
    timing: bool = True


def reproduce(setting: Setting, options: Options) -> str:
    """Train and score the networks, and return the page."""
    names = among(tuple(MODELS) if options.rows is None else options.rows, tuple(MODELS), "rows")
    keys = {
        **(QUICK if setting.quick else FULL),
        "phantom_dir": setting.work_dir / "data",
        "cache_dir": setting.work_dir / "cache",
        "small_mm2": SMALL_MM2,
        **setting.keys,
    }
    keys["dataset_dir"] = keys["phantom_dir"]
    runs = setting.work_dir / "runs"
    configurations = {name: _configuration(name, setting.quick, setting.keys) for name in names}
    run_configurations(list(configurations.values()), runs, keys, jobs=setting.jobs)
    scores = {name: Scores.read(runs / name / "run" / "eval" / "slice_metrics") for name in names}
    real: dict[str, Scores] = {}
    root = Path(os.environ.get("HEADCT_REAL_DATA", "")) / REAL
    if os.environ.get("HEADCT_REAL_DATA") and root.is_dir():
        dataset = _real_datalist(root, setting.work_dir / "real")
        for name in names:
            run = configurations[name].run_in(runs, keys)
            real[name] = Scores.read(run.score_again("real", dataset_dir=dataset) / "slice_metrics")
    times = _times(names, setting.work_dir / "timing.json") if options.timing else []
    keys |= {**QUICK_GAN, **setting.keys} if setting.quick else {}
    pictures = draw(MODELS, scores, setting.out)
    return make_page(setting.command, MODELS, scores, real, times, keys, setting.quick, pictures)


def _configuration(name: str, quick: bool, keys: Mapping[str, Any]) -> Configuration:
    """A row as a run; `--quick` has no ImageNet weights to fetch."""
    model = MODELS[name]
    if model.bundle == "gan_unet2d":
        quick_keys = {**QUICK_GAN, **(PIX2PIX if name == "Pix2Pix7" else {})}
        own = {key: value for key, value in quick_keys.items() if quick and key not in keys}
        return Configuration(name, model.bundle, model.overlays, own)
    return Configuration(name, model.bundle, (*model.overlays, *(["from_scratch"] if quick else [])))


def _real_datalist(root: Path, folder: Path) -> Path:
    """All slices of CT-ICH as test cases."""
    prepared = folder / "prepared.json"
    prepare("ct_ich_v1", root, prepared, folds=0, slices=True, progress=False)
    content = json.loads(prepared.read_text())
    write_json(folder / "dataset.json", {"training": [], "testing": content["training"]})
    return folder


def _times(names: Sequence[str], kept: Path) -> list[Row]:
    """Milliseconds per slice of the networks that table II has, and those of the family, taking turns."""
    script = BUNDLES.parent / "benchmarks" / "bench_slices.py"
    if kept.is_file():
        return json.loads(kept.read_text())["rows"]
    if not script.is_file():
        return []
    models = [model for name in names if (model := MODELS[name].bench)]
    command = [
        sys.executable,
        str(script),
        "--batches",
        "1",
        "--models",
        ",".join(models),
        "--out",
        str(kept),
    ]
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"timing: expected {script.name} to succeed, found {done.stderr.strip()[-200:]!r}")
    return json.loads(kept.read_text())["rows"]
