"""What the weights of se_unet3d, trained on synthetic heads alone, do on real slices: no performance, a look.

    python benchmarks/real_se_unet3d.py --slices FOLDER [--weights types]

For real scans see `real.py`. `--slices` is a tree of CT-ICH 1.0.0 (JPEG slices in the brain window, -20 to
100 HU, radiologists' masks of any hemorrhage). The network takes volumes; so neighbouring slices of a
patient are stacked, 5 mm apart, to a slab with nothing above and below it, and the brain is what is neither
bone nor air in the picture. That is not what the network was trained on, and a single slice is hardly a
volume at all.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import table
from scipy import ndimage

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "se_unet3d"
sys.path.insert(0, str(BUNDLE))

from scripts.brain_windows import WindowProbabilityInferer  # noqa: E402
from scripts.network import SEUNet  # noqa: E402

from headct.datasets import prepare  # noqa: E402
from headct.runs.find_bundle import find_weights  # noqa: E402
from tools.engine.checkpoint import require_weights, weights_settings  # noqa: E402
from tools.engine.postprocess import label_from_probabilities  # noqa: E402
from tools.slices.preprocessing import SlicePreprocessing  # noqa: E402
from tools.slices.read import CT_ICH_PIXEL_MM  # noqa: E402

FIELD_MM = 640 * CT_ICH_PIXEL_MM  # of the pictures without their border


def brain_of_picture(image: torch.Tensor, pixel_mm: float) -> torch.Tensor:
    """What is neither bone nor air in a slice of the window 0 to 100 HU, (1, X, Y, 1) in [0, 1]: bool."""
    tissue = (image[0, :, :, 0].numpy() > 0.02) & (image[0, :, :, 0].numpy() < 0.98)
    disk = np.hypot(*np.ogrid[-4:5, -4:5]) * pixel_mm <= 3  # cuts the scalp off
    opened = ndimage.binary_opening(tissue, disk)
    components, count = ndimage.label(opened)
    if not count:
        return torch.zeros(image.shape[1:], dtype=torch.bool)[None]
    largest = components == 1 + np.argmax(np.bincount(components.ravel())[1:])
    filled = ndimage.binary_fill_holes(ndimage.binary_closing(largest, disk))
    return torch.from_numpy(filled)[None, :, :, None]


def slabs(items: list[dict]) -> Iterator[list[dict]]:
    """Runs of neighbouring slices of one patient."""
    number = {item["case"]: int(Path(item["image"]).stem) for item in items}
    run: list[dict] = []
    for item in sorted(items, key=lambda item: (item["patient"], number[item["case"]])):
        if run and (run[-1]["patient"], number[run[-1]["case"]] + 1) != (
            item["patient"],
            number[item["case"]],
        ):
            yield run
            run = []
        run.append(item)
    yield run


def look_at_slices(root: str, network: torch.nn.Module, settings: dict[str, Any]) -> None:
    """Print what is found in every slice."""
    rows = []
    pixel_mm, symmetric = float(settings["spacing"][0]), bool(settings.get("symmetric", True))
    load = SlicePreprocessing(size=[round(FIELD_MM / pixel_mm)] * 2, window=(0, 100), symmetric=symmetric)
    roi_size = settings.get("roi_size", (32, 32, 16))
    with tempfile.TemporaryDirectory() as folder:
        prepare("ct_ich_v1", root, Path(folder) / "dataset.json", folds=0, slices=True, progress=False)
        content = json.loads((Path(folder) / "dataset.json").read_text())
        items = [
            {**item, **{key: str((Path(folder) / item[key]).resolve()) for key in ("image", "label")}}
            for items in content.values()
            if isinstance(items, list)
            for item in items
        ]
        for run in slabs(items):
            loaded = [load(item) for item in run]
            brain = torch.cat([brain_of_picture(one["image"].as_tensor(), pixel_mm) for one in loaded], -1)
            image = torch.cat([one["image"].as_tensor() for one in loaded], -1) * brain
            inferer = WindowProbabilityInferer(roi_size, overlap=0.5625)
            mean = inferer(image[None], network, brain=brain[None])
            found = label_from_probabilities(mean[0])[0] > 0
            for z, (item, one) in enumerate(zip(run, loaded, strict=True)):
                truth, pred = one["label"].as_tensor()[0, :, :, 0] > 0, found[:, :, z]
                ml = pixel_mm**2 * 5 / 1000
                both = float((truth & pred).sum())
                rows.append(
                    {
                        "slice": item["case"],
                        "types": item.get("types", ""),
                        "slices in slab": len(run),
                        "brain cm2": float(brain[..., z].sum()) * pixel_mm**2 / 100,
                        "truth mL": float(truth.sum()) * ml,
                        "found mL": float(pred.sum()) * ml,
                        "Dice": 2 * both / max(float(truth.sum() + pred.sum()), 1.0),
                        "hit": bool(both),
                    }
                )
    print(f"\n{len(rows)} real slices\n\n{table(rows)}\n")
    iph = [row for row in rows if "iph" in str(row["types"])]
    for name, own in (("all", rows), ("with IPH", iph), ("without IPH", [r for r in rows if r not in iph])):
        if own:
            mean = sum(row["Dice"] for row in own) / len(own)
            print(f"{name}: {len(own)} slices, mean Dice {mean:.3f}, {sum(r['hit'] for r in own)} hit")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", required=True, help="tree of CT-ICH 1.0.0")
    parser.add_argument("--weights", default="model", help="file, or name of one in the bundle's models")
    args = parser.parse_args()
    (weights,) = find_weights(BUNDLE, args.weights)
    require_weights(weights)
    settings = weights_settings(weights)
    built = {key: settings[key] for key in ("out_channels", "features", "se") if key in settings}
    depth = len(built.get("features", [32, 64, 128, 256])) - 1
    channels = 1 + bool(settings.get("symmetric", True))
    network = SEUNet(in_channels=channels, dropout=[0.0] * depth, **built).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    look_at_slices(args.slices, network, settings)


if __name__ == "__main__":
    main()
