"""What the shipped weights do on real images, bundle by bundle: real slices with blood, real scans without.

    python benchmarks/real.py --slices FOLDER --scans FOLDER [FOLDER ...] [--bundle NAME ...] [--write]

`--slices` is a tree of CT-ICH 1.0.0 (8-bit slices in the brain window, radiologists' masks): each 2D
bundle segments those with hemorrhage through its own `inferring`. `--scans` are head CTs without hemorrhage
(DICOM or NIfTI; FOLDER=2 takes series 2): every millilitre that `headct predict` finds is false. `--weights
NAME=FILE` scores another file than the shipped one. `--write` puts the tables of each bundle into its model
card, between the two lines that name this script. For slabs of slices and se_unet3d see `real_se_unet3d.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine, table
from PIL import Image

from headct.datasets import prepare
from headct.predict import predict
from tools.metrics import compute_location_accuracy, compute_overlap

BUNDLES = Path(__file__).resolve().parents[1] / "bundles"
SLICES_2D = ("gan_unet2d", "dunet", "unetpp_pretrained")
BEGIN, END = "<!-- benchmarks/real.py: begin -->", "<!-- benchmarks/real.py: end -->"


def slices_with_hemorrhage(root: Path, folder: Path) -> list[dict[str, Any]]:
    """The slices of a tree that have a mask, as datalist entries; also linked in `folder/pictures`."""
    prepare("ct_ich_v1", root, folder / "dataset.json", folds=0, progress=False)
    items = json.loads((folder / "dataset.json").read_text())["training"]
    (folder / "pictures").mkdir()
    chosen = []
    for item in items:
        if not item["hemorrhage"]:
            continue
        image, label = ((folder / item[key]).resolve() for key in ("image", "label"))
        os.symlink(image, folder / "pictures" / f"{item['case']}{image.suffix}")
        chosen.append({**item, "image": image, "label": label})
    return chosen


def score_slices(name: str, weights: Path, items: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """One row for each slice: Dice, IoU and location accuracy of the mask that `inferring` writes."""
    out = folder / f"masks_{name}"
    command = [
        sys.executable,
        "-m",
        "monai.bundle",
        "run",
        "inferring",
        "--config_file",
        "configs/inference.yaml",
    ]
    command += [
        "--dataset_dir",
        str(folder / "pictures"),
        "--ckpt_path",
        str(weights),
        "--output_dir",
        str(out),
    ]
    done = subprocess.run(command, cwd=BUNDLES / name, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: inferring failed\n{done.stderr[-2000:]}")
    rows = []
    for item in items:
        (mask,) = out.rglob(f"{item['case']}_seg.png")
        found, truth = (
            torch.from_numpy(np.asarray(Image.open(path).convert("L")) > limit)[None, None]
            for path, limit in ((mask, 0), (item["label"], 127))
        )
        overlap = compute_overlap(found, truth)
        rows.append(
            {
                "slice": item["case"],
                "patient": item["patient"],
                "types": item.get("types", ""),
                "Dice": float(overlap["dice"]),
                "IoU": float(overlap["iou"]),
                "location accuracy": float(compute_location_accuracy(found, truth)),
            }
        )
    return rows


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over all slices, and over those of each patient."""
    patients = sorted({row["patient"] for row in rows})
    groups = {
        "all": rows,
        **{f"patient {p}": [r for r in rows if r["patient"] == p] for p in patients},
    }
    return [
        {
            "slices with hemorrhage": name,
            "n": len(own),
            **{
                key: f"{np.mean([row[key] for row in own]):.3f}"
                for key in ("Dice", "IoU", "location accuracy")
            },
        }
        for name, own in groups.items()
    ]


def false_blood(name: str, weights: Path | None, scans: list[str]) -> list[dict[str, Any]]:
    """One row for each scan without hemorrhage: mL that `predict` finds, and in how many pieces."""
    rows = []
    for given in scans:
        scan, _, series = Path(given.partition("=")[0]), *given.partition("=")[1:]
        with tempfile.TemporaryDirectory() as out:
            result = predict(scan, name, Path(out) / "out", weights=weights, series=series or None)
            if result.failures:
                raise SystemExit(f"{scan}: {result.failures[0].message}")
            (case,) = result.cases
            rows.append(
                {
                    "scan without hemorrhage": scan.parent.name if scan.name.startswith("ax_") else scan.name,
                    "false mL": f"{case.volume_ml:.2f}",
                    "pieces": len(case.lesions),
                }
            )
    return rows


def write_into_card(name: str, text: str) -> None:
    """Replace what stands between the two marks of a model card."""
    card = BUNDLES / name / "docs" / "README.md"
    content = card.read_text()
    if BEGIN not in content or END not in content:
        raise SystemExit(f"{card}: expected the lines {BEGIN} and {END}, found none")
    before, after = content.split(BEGIN)[0], content.split(END)[1]
    card.write_text(f"{before}{BEGIN}\n{text.strip()}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=Path, help="tree of CT-ICH 1.0.0")
    parser.add_argument("--scans", nargs="*", default=[], help="head CTs without hemorrhage")
    parser.add_argument("--bundle", nargs="*", default=[*SLICES_2D, "se_unet3d"])
    parser.add_argument("--weights", nargs="*", default=[], metavar="NAME=FILE")
    parser.add_argument("--write", action="store_true", help="write the tables into the model cards")
    args = parser.parse_args()
    other = dict(pair.split("=", 1) for pair in args.weights)
    print(machine())
    for name in args.bundle:
        given = Path(other[name]).resolve() if name in other else None
        weights = given or BUNDLES / name / "models" / "model.pt"
        parts = []
        with tempfile.TemporaryDirectory() as temporary:
            if args.slices and name in SLICES_2D:
                items = slices_with_hemorrhage(args.slices, Path(temporary))
                rows = score_slices(name, weights, items, Path(temporary))
                print(f"\n{name}\n\n{table(rows)}")
                parts.append(table(summary(rows)))
        if args.scans:
            parts.append(table(false_blood(name, given, args.scans)))
        text = "\n\n".join(parts)
        print(f"\n{name}\n\n{text}")
        if args.write:
            write_into_card(name, text)


if __name__ == "__main__":
    main()
