"""The main job on synthetic data: make phantoms, train se_unet3d, score unseen cases, draw what it found.

    python examples/demo.py [--out demo] [--dicom FOLDER]

Everything is run as a user would run it: `python -m monai.bundle run ...` in the bundle's folder.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import typer

from headct.runs.curves import learning_curve_picture
from headct.scores.overlay import OverlayCase, overlay_picture
from tools.volumes.read import read_label, read_volume

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "bundles" / "se_unet3d"
VARIANT = "configs/variants/demo.yaml"


def bundle_run(run_id: str, *configs: str, **overrides: str | Path) -> None:
    """`python -m monai.bundle run` in the bundle's folder; overrides are `--key value`."""
    files = "[" + ",".join(f"'{config}'" for config in configs) + "]"
    command = [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", files]
    for key, value in overrides.items():
        command += [f"--{key}", str(value)]
    print("\n$ " + " ".join(command[1:]), flush=True)
    subprocess.run(command, cwd=BUNDLE, check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})


def show_cases(out: Path) -> None:
    """Print the table of unseen cases and draw the best, middle and worst of them."""
    with (out / "eval" / "metrics" / "per_case.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["dice"]))
    print("\nUnseen synthetic cases (not used in training, not patients):\n")
    columns = ["case", "ivh", "dice", "volume_ml", "pred_volume_ml"]
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in sorted(rows, key=lambda row: row["case"]):
        cells = [row[c] if c in ("case", "ivh") else f"{float(row[c]):.3f}" for c in columns]
        print("| " + " | ".join(cells) + " |")
    mean = sum(float(row["dice"]) for row in rows) / len(rows)
    print(f"\nmean DSC of the lesion class over {len(rows)} unseen synthetic cases: {mean:.3f}")
    data = out / "data"
    chosen = [rows[-1], rows[len(rows) // 2], rows[0]]
    cases = []
    for name, row in zip(("best", "middle", "worst"), chosen, strict=True):
        case = row["case"]
        image = read_volume(data / "images" / f"{case}.nii.gz")
        truth = read_label(data / "labels" / f"{case}.nii.gz")
        pred = read_label(out / "eval" / "predictions" / f"{case}_seg.nii.gz")
        title = f"{name}: synthetic {case}, DSC {float(row['dice']):.2f}"
        cases.append(OverlayCase(title, image, pred, truth, image.pixdim.tolist()))
    print(f"picture: {overlay_picture(cases, out / 'overlay.png')}")
    print(f"picture: {learning_curve_picture(out / 'eval', out / 'learning_curve.png')}")


def show_scan(scan: Path, out: Path) -> None:
    """Segment a real scan and draw it; a model trained on phantoms for minutes proves nothing on it."""
    bundle_run(
        "inferring",
        "configs/inference.yaml",
        VARIANT,
        dataset_dir=scan,
        ckpt_path=out / "models" / "model.pt",
        output_dir=out / "scan",
    )
    name = scan.resolve().name
    image = read_volume(out / "scan" / f"{name}.nii.gz")
    pred = read_label(out / "scan" / f"{name}_seg.nii.gz")
    volume_ml = float(pred.sum()) * float(image.pixdim.prod()) / 1000
    title = f"{name}: {volume_ml:.1f} mL called hemorrhage"
    overlay_picture(
        [OverlayCase(title, image, pred, None, image.pixdim.tolist())], out / "scan.png", columns=8
    )
    print(f"{title}\npicture: {out / 'scan.png'}")


def demo(out: str = "demo", dicom: str | None = None) -> None:
    """Run the demonstration.

    Args:
        out: folder for data, weights, scores and pictures.
        dicom: folder of a real head CT in DICOM, or a NIfTI file, to segment as well.
    """
    start = time.monotonic()
    folder = Path(out).resolve()
    common = {
        "phantom_dir": folder / "data",
        "cache_dir": folder / "cache",
        "ckpt_dir": folder / "models",
        "output_dir": folder / "eval",
    }
    for old in (folder / "eval").glob("events.out.tfevents.*"):
        old.unlink()
    bundle_run("training", "configs/train.yaml", VARIANT, **common)
    bundle_run("evaluating", "configs/train.yaml", "configs/evaluate.yaml", VARIANT, **common)
    show_cases(folder)
    if dicom:
        show_scan(Path(dicom), folder)
    print(f"\ndemo finished in {(time.monotonic() - start) / 60:.1f} minutes. Research use only.")


if __name__ == "__main__":
    typer.run(demo)
