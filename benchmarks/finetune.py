"""Weights of five types trained further on real slices: figures by leaving one patient out, then on all.

    python benchmarks/finetune.py --slices FOLDER --anatomy FOLDER --background SCAN --out FOLDER

`--slices` is a tree of CT-ICH 1.0.0. For each patient a network is trained further on the others
(configs/variants/finetune.yaml) and scored on that patient's slices through the bundle's own `inferring`; at
last one is trained on all of them, `OUT/all/model.pt`. The same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import machine, table
from real import BUNDLES, score_slices, slices_with_hemorrhage, summary

from headct.datasets import prepare

BUNDLE = "unetpp_pretrained"
RECIPE = ("train.yaml", "variants/types.yaml", "variants/anatomy.yaml", "variants/finetune.yaml")


def train(out: Path, real: Path, fold: int | None, start: Path, options: dict[str, object]) -> Path:
    """The weights of one training, from the files that an earlier run left where there are some."""
    folder = out / ("all" if fold is None else f"without_{fold}")
    if not (folder / "done").is_file():
        keys = {
            "real": real, "start_from": start, "ckpt_dir": folder, "output_dir": folder / "eval",
            "cache_dir": out / "cache", "phantom_dir": out / "phantom", **options,
        }  # fmt: skip
        if fold is not None:
            keys["real_fold"] = fold
        files = str([f"configs/{name}" for name in RECIPE])
        command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", files]
        command += [part for key, value in keys.items() for part in (f"--{key}", str(value))]
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log.txt").open("a") as log:
            subprocess.run(command, cwd=BUNDLES / BUNDLE, stdout=log, stderr=log, check=True)
        (folder / "done").touch()
    return folder / "model.pt"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("slices", "anatomy", "background", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--start", type=Path, default=BUNDLES / BUNDLE / "models" / "model.pt")
    parser.add_argument("--heads_dir", type=Path, help="heads that an earlier training kept")
    parser.add_argument("keys", nargs="*", help="further keys of the training, such as max_epochs=4")
    args = parser.parse_args()
    out = args.out.resolve()
    options: dict[str, object] = {
        "anatomy": args.anatomy.resolve(), "background": args.background.resolve(),
        **dict(pair.split("=", 1) for pair in args.keys),
    }  # fmt: skip
    if args.heads_dir:
        options["heads_dir"] = args.heads_dir.resolve()
    real = out / "real.json"
    prepare("ct_ich_v1", args.slices, real, folds=0, progress=False)
    content = json.loads(real.read_text())
    patients = sorted({item["patient"] for item in content["training"]})
    for item in content["training"]:  # a fold for each patient
        item["fold"] = patients.index(item["patient"])
    real.write_text(json.dumps(content))

    rows = []
    start = args.start.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        items = slices_with_hemorrhage(args.slices, Path(temporary))
        before = score_slices(BUNDLE, start, items, Path(temporary))
        for fold, patient in enumerate(patients):
            weights = train(out, real, fold, start, options)
            with tempfile.TemporaryDirectory() as masks:
                (Path(masks) / "pictures").symlink_to(Path(temporary) / "pictures")
                scored = score_slices(BUNDLE, weights, items, Path(masks))
            rows += [row for row in scored if row["patient"] == patient]
    print(machine())
    print(f"\nbefore\n\n{table(summary(before))}")
    print(f"\neach patient by weights that never saw it\n\n{table(summary(rows))}")
    found = np.mean([row["Dice"] > 0 for row in rows])
    print(f"\nslices in which something of the lesion was found: {found:.2f}")
    print(f"\nweights of all patients: {train(out, real, None, start, options)}")


if __name__ == "__main__":
    main()
