"""Li 2021: tables I and II, figures 10, 11 and 14 to 16, on synthetic heads.

Options of `python -m tools reproduce li2021` besides the common ones: `--rows "UNet6,UNet6Gan"` (keys of
`MODELS`), `--timing false` to leave out table II, and every key of the bundle's configuration
(`--max_epochs`, `--phantom "{...}"` ...). Where the environment variable HEADCT_REAL_DATA names a folder with
`ct_ich_v1.0.0_sample` (or all of CT-ICH 1.0.0 under that name), the networks are scored on its slices too, in
a table of its own; nothing is trained on them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.bundle_run import BUNDLES, bundle_folder, config_files, last_error
from tools.datasets import prepare
from tools.errors import InputError
from tools.metrics.tables import Row, write_json
from tools.reproduce import Setting
from tools.reproduce.li2021_page import Model, Scores, draw, make_page
from tools.reproduce.runs import Configuration, run_configurations

__all__ = ["MODELS", "reproduce"]

SMALL_MM2 = 200.0
"""Area in mm2 up to which the lesion of a slice counts as small. The paper's neurologists judged by eye."""

REAL = "ct_ich_v1.0.0_sample"

MODELS: dict[str, Model] = {
    "UNet10": Model(("unet10",), (0.9577, 0.5510), bench="unet10"),
    "UNet10Gan": Model(("unet10_gan",), (0.9577, 0.5102)),
    "UNet6": Model(("unet6",), (0.9577, 0.5510)),
    "UNet6Gan": Model((), (0.9155, 0.5102), ms=(172.1, 163.7), bench="unet6"),
    "UNet6Dil": Model(("unet6_dil",), (0.9718, 0.5306), bench="unet6_dil"),
    "UNet6Flip": Model(("unet6_flip",), (0.9155, 0.4898)),
    "UNet6FlipD": Model(("unet6_flip_d",), (0.9014, 0.3061)),
    "UNet6Incep": Model((), (0.9859, 0.6735), "unetpp_pretrained"),
    "UNet6Vgg": Model(("vgg",), (0.9437, 0.4498), "unetpp_pretrained"),
    "Pix2Pix7": Model(("pix2pix7",), bench="pix2pix7"),
    "DeepLabV3+": Model(("deeplabv3plus",), ms=(311.6, 302.1), bench="deeplabv3plus"),
    "FCN": Model(("fcn",), ms=(201.3, 197.9), bench="fcn"),
    "PSPNet": Model(("pspnet",), ms=(188.2, 179.2), bench="pspnet"),
    "RefineNet": Model(("refinenet",), ms=(298.5, 287.5), bench="refinenet"),
    "SegNet": Model(("segnet",), ms=(279.2, 257.3), bench="segnet"),
    "U-Net": Model(("unet",), ms=(156.4, 158.2), bench="unet"),
}
#: `--quick`: every network, but narrow ones on coarse slices, for few epochs.
QUICK: dict[str, Any] = {
    "phantom": {
        "cases": 16, "test_cases": 10, "seed": 7, "kind": "any", "folds": 4,
        "shape": [96, 96, 26], "spacing": [2.2, 2.2, 6.0],
    },
    "size": [96, 96],
    "slices_per_case": 8,
    "batch_size": 8,
    "learning_rate": 1.0e-3,
    "max_epochs": 10,
    "val_interval": 2,
}  # fmt: skip
QUICK_GAN: dict[str, Any] = {
    "pretrain_epochs": 6,
    "features": 16,
    "discriminator_features": 16,
    "encoder": "resnet18",
}
PIX2PIX = {"size": [128, 128]}  # what its seven steps down need
FULL: dict[str, Any] = {
    "phantom": {
        "cases": 60, "test_cases": 30, "seed": 7, "kind": "any", "folds": 5,
        "shape": [256, 256, 32], "spacing": [0.9, 0.9, 5.0],
    },
}  # fmt: skip


def reproduce(setting: Setting) -> str:
    """Train and score the networks, and return the page."""
    options = dict(setting.options)
    names = options.pop("rows", None)
    if names is None:
        names = [name for name, model in MODELS.items() if _available(model)]
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        raise InputError(f"rows: expected among {', '.join(MODELS)}, found {', '.join(unknown)}")
    timing = str(options.pop("timing", True)).lower() != "false"
    keys = {
        **(QUICK if setting.quick else FULL),
        "phantom_dir": setting.work_dir / "data",
        "cache_dir": setting.work_dir / "cache",
        "small_mm2": SMALL_MM2,
        **options,
    }
    keys["dataset_dir"] = keys["phantom_dir"]
    runs = setting.work_dir / "runs"
    configurations = {name: _configuration(name, setting.quick, options) for name in names}
    run_configurations(list(configurations.values()), runs, keys, jobs=setting.jobs)
    scores = {name: Scores.read(runs / name / "run" / "eval" / "slice_metrics") for name in names}
    real: dict[str, Scores] = {}
    root = Path(os.environ.get("HEADCT_REAL_DATA", "")) / REAL
    if os.environ.get("HEADCT_REAL_DATA") and root.is_dir():
        dataset = _real_datalist(root, setting.work_dir / "real")
        for name in names:
            folder = _evaluate_on(dataset, configurations[name], runs / name / "run", keys)
            real[name] = Scores.read(folder / "slice_metrics")
    times = _times(names, setting.work_dir / "timing.json") if timing else []
    keys |= {**QUICK_GAN, **options} if setting.quick else {}
    pictures = draw(MODELS, scores, setting.out)
    return make_page(setting.command, MODELS, scores, real, times, keys, setting.quick, pictures)


def _available(model: Model) -> bool:
    return (BUNDLES / model.bundle / "configs" / "train.yaml").is_file()


def _configuration(name: str, quick: bool, options: Mapping[str, Any]) -> Configuration:
    """A row as a run; `--quick` has no ImageNet weights to fetch."""
    model = MODELS[name]
    if model.bundle == "gan_unet2d":
        quick_keys = {**QUICK_GAN, **(PIX2PIX if name == "Pix2Pix7" else {})}
        own = {key: value for key, value in quick_keys.items() if quick and key not in options}
        return Configuration(name, model.bundle, model.overlays, own)
    return Configuration(name, model.bundle, (*model.overlays, *(["from_scratch"] if quick else [])))


def _real_datalist(root: Path, folder: Path) -> Path:
    """All slices of CT-ICH as test cases."""
    prepared = folder / "prepared.json"
    prepare("ct_ich_v1", root, prepared, folds=0, slices=True, progress=False)
    content = json.loads(prepared.read_text())
    write_json(folder / "dataset.json", {"training": [], "testing": content["training"]})
    return folder


def _evaluate_on(dataset: Path, one: Configuration, run: Path, keys: Mapping[str, Any]) -> Path:
    """Score the weights of a run on other data; the folder of the scores."""
    out = run / "real"
    if (out / "slice_metrics" / "summary.json").is_file():
        return out
    files = config_files(bundle_folder(one.bundle), one.overlays)
    files = [files[0], "configs/evaluate.yaml", *files[1:]]
    settings = {
        **keys,
        **one.overrides,
        "dataset_dir": dataset,
        "ckpt_dir": run / "models",
        "output_dir": out,
    }
    command = [sys.executable, "-m", "monai.bundle", "run", "evaluating", "--config_file", str(files)]
    command += [part for key, value in settings.items() for part in (f"--{key}", str(value))]
    done = subprocess.run(command, cwd=bundle_folder(one.bundle), capture_output=True, text=True)
    if done.returncode:
        found = last_error(done.stderr)
        raise InputError(f"{one.name}: expected evaluation on real slices to succeed, found {found!r}")
    return out


def _times(names: Sequence[str], kept: Path) -> list[Row]:
    """Milliseconds per slice of the networks that table II has, and those of the family, taking turns."""
    script = BUNDLES.parent / "benchmarks" / "bench_slices.py"
    if kept.is_file():
        return json.loads(kept.read_text())["rows"]
    if not script.is_file():
        return []
    models = [MODELS[name].bench for name in names if MODELS[name].bench]
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
