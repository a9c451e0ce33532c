"""Training patches per second: RoiPatchSampler beside MONAI and TorchIO, on the same volumes.

    python benchmarks/bench_sampling.py [--quick] [--whole] [--device cuda] [--out result.json]

Patches of 32x32x16 voxels, two channels and label, half on lesion, half in the brain: the strategy that
all three can express. The peers have volumes and indices in memory and cut many patches per volume at a
time; the better of 0 and 2 workers counts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from common import report, synchronize
from monai.data import MetaTensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundles" / "se_unet3d"))

from scripts.brain import HyperdenseRegiond

from tools.core.tensors import plain
from tools.sampling.case_regions import RoiSettings, case_masks
from tools.sampling.mix import PRESETS
from tools.sampling.run_table import mask_runs
from tools.sampling.sampler import RoiPatchSampler

ROI, BATCH, SHAPE, SPACING = (32, 32, 16), 64, (512, 512, 30), (0.45, 0.45, 5.0)


def make_head(seed: int) -> dict[str, Any]:
    """A head in HU: noisy ellipsoid of brain, a ball of lesion, a smaller ball of ventricular blood."""
    random = torch.Generator().manual_seed(seed)
    axes = [torch.arange(size) - (size - 1) / 2 for size in SHAPE]
    x, y, z = (axis * step for axis, step in zip(axes, SPACING, strict=True))
    x, y, z = x[:, None, None], y[None, :, None], z[None, None, :]

    def ball(radius: float) -> torch.Tensor:
        middle = (torch.rand(3, generator=random) - 0.5) * torch.tensor([70.0, 90.0, 50.0])
        return ((x - middle[0]) ** 2 + (y - middle[1]) ** 2 + (z - middle[2]) ** 2) < radius**2

    brain = (x / 70) ** 2 + (y / 88) ** 2 + (z / 62) ** 2 < 1
    lesion, ivh = brain & ball(18.0), brain & ball(10.0)
    image = (
        torch.where(brain, 32.0, -1000.0) + 30.0 * (lesion | ivh) + torch.randn(SHAPE, generator=random) * 4
    )
    affine = torch.diag(torch.tensor([*SPACING, 1.0], dtype=torch.float64))
    volumes = {"image": image, "brain": brain.to(torch.uint8), "label": lesion.to(torch.uint8)}
    return {key: MetaTensor(volume[None], affine=affine) for key, volume in volumes.items()}


class Heads(Sequence):
    """Heads as they are trained on: 0-100 HU as 0-1, zero outside the brain, the flip as second channel."""

    def __init__(self, cases: int) -> None:
        self.cases = cases

    def __len__(self) -> int:
        return self.cases

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = HyperdenseRegiond()(make_head(index))
        window = (item["image"].clamp(0, 100) / 100) * (item["brain"] > 0)
        return {**item, "image": torch.cat([window, window.flip(1)])}


def rate(batches: Callable[[], Iterable[torch.Tensor]], seconds: float, device: str = "cpu") -> float:
    """Patches per second of an endless supply of image batches, after a warm-up of a quarter of the time."""
    supply = _endless(batches)
    for budget in (seconds / 4, seconds):
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < budget:
            count += len(next(supply))
        synchronize(device)
        elapsed = time.perf_counter() - start
    return count / elapsed


def _endless(batches: Callable[[], Iterable[torch.Tensor]]) -> Iterator[torch.Tensor]:
    while True:
        yield from batches()


def ours(cohort: list[dict[str, Any]], seconds: float, device: str) -> list[dict[str, Any]]:
    """RoiPatchSampler in half precision, as it is for mixed-precision training, and in single precision."""
    rows = []
    for mix, output, label, extra in (
        ("brain", "float16", "uint8", {}),
        ("border_or_ivh", "float16", "uint8", {}),
        ("brain", "float32", "float32", {}),
        ("brain", "float16", "uint8", {"augmentation": {"turns": "x6"}}),
    ):
        sampler = RoiPatchSampler(
            cohort,
            ROI,
            mix,
            2000,
            BATCH,
            device=device,
            batch={"image_dtype": output, "label_dtype": label},
            progress=False,
            **extra,
        )
        speed = rate(lambda s=sampler: (batch["image"] for batch in s), seconds, device)
        name = f"RoiPatchSampler {mix}, {output} image, {label} label" + (", x6" if extra else "")
        rows.append({"loader": name, "patches/s": speed})
    return rows


def monai_loader(cohort: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """CacheDataset, RandCropByLabelClassesd with cached indices, DataLoader.

    `as usual`: MetaTensors in single precision. `tuned`: plain tensors in half precision, which its users
    give up metadata for. Both crop 32 patches per case and item.
    """
    from monai.data import CacheDataset, DataLoader, set_track_meta
    from monai.transforms import Compose, RandCropByLabelClassesd

    rows = []
    for tuned in (False, True):
        set_track_meta(not tuned)
        items = []
        for item in cohort:
            label = plain(item["label"])
            brain = (plain(item["brain"]) > 0) & (label == 0)
            indices = [torch.nonzero(mask.flatten())[:, 0] for mask in (brain, label > 0)]
            image = plain(item["image"]).half() if tuned else item["image"]
            items.append({"image": image, "label": label if tuned else item["label"], "indices": indices})
        crop = RandCropByLabelClassesd(
            ["image", "label"],
            "label",
            ROI,
            ratios=[1, 1],
            num_classes=2,
            num_samples=BATCH // 2,
            indices_key="indices",
        )
        data = CacheDataset(items, Compose([crop, _DropIndices()]), progress=False, copy_cache=False)
        for workers in (0, 2):
            loader = DataLoader(
                data, batch_size=2, shuffle=True, num_workers=workers, persistent_workers=workers > 0
            )
            speed = rate(lambda one=loader: (batch["image"] for batch in one), seconds)
            kind = "tuned" if tuned else "as usual"
            rows.append({"loader": f"MONAI {kind}, {workers} workers", "patches/s": speed})
    set_track_meta(True)
    return rows


class _DropIndices:
    """The indices would be collated into every batch."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        return {key: data[key] for key in ("image", "label")}


def torchio_queue(cohort: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """Queue with a LabelSampler that draws lesion and brain alike."""
    try:
        import torchio as tio
    except ImportError:
        print("torchio is not installed (pip install torchio): its rows are left out")
        return []
    subjects = []
    for item in cohort:
        label = plain(item["label"])
        places = torch.where(label > 0, 2, (plain(item["brain"]) > 0).to(torch.uint8)).to(torch.uint8)
        subjects.append(
            tio.Subject(
                image=tio.ScalarImage(tensor=plain(item["image"]).half()),
                label=tio.LabelMap(tensor=label),
                places=tio.LabelMap(tensor=places),
            )
        )
    rows = []
    for workers in (0, 2):
        sampler = tio.LabelSampler(ROI, "places", {1: 1, 2: 1})
        queue = tio.Queue(
            tio.SubjectsDataset(subjects), 1024, 128, sampler, num_workers=workers, verbose=False
        )
        loader = tio.SubjectsLoader(queue, batch_size=BATCH, num_workers=0)
        rows.append(
            {
                "loader": f"TorchIO Queue, {workers} workers",
                "patches/s": rate(lambda one=loader: (batch["image"]["data"] for batch in one), seconds),
            }
        )
    return rows


def copy_limit(device: str) -> dict[str, Any]:
    """What plain copies of the patches' bytes, from memory to memory, would give."""
    patch = ROI[0] * ROI[1] * ROI[2] * 5
    source = torch.empty(4096 * patch, dtype=torch.uint8, device=device).fill_(1)
    target = torch.empty_like(source)
    speed = 0.0
    for _ in range(5):
        synchronize(device)
        start = time.perf_counter()
        target.copy_(source)
        synchronize(device)
        speed = max(speed, 4096 / (time.perf_counter() - start))
    return {"loader": "limit: copying as many bytes in one piece", "patches/s": speed}


def start_up() -> list[dict[str, Any]]:
    """Seconds to find the regions of one case: the hyperdense region in HU, and all others."""
    item = make_head(0)
    times: dict[str, list[float]] = {"hyperdense": [], "others": []}
    for _ in range(4):
        start = time.perf_counter()
        found = HyperdenseRegiond()(item)
        times["hyperdense"].append(time.perf_counter() - start)
        start = time.perf_counter()
        mix = {"lesion": 0.2, "image": 0.2, "brain": 0.2, "border": 0.2, "centre": 0.1, "ivh": 0.1}
        masks = case_masks(found, "case", PRESETS["brain"].of(mix), RoiSettings(), 0.0)
        _ = [mask_runs(mask) for mask in masks]
        times["others"].append(time.perf_counter() - start)
    return [{"start-up of one case": name, "s": min(values)} for name, values in times.items()]


def memory(cases: int) -> list[dict[str, Any]]:
    """GB on the device for 76 cases: as kept (the box of the brain), and if nothing could be cut away."""
    rows = []
    for kept, background in (("box of the brain", 0.0), ("whole volumes", -1.0)):
        sampler = RoiPatchSampler(Heads(cases), ROI, "border_or_ivh", 10, BATCH, background=background)
        row = {"two channels, 512x512x30": kept, "cases built": cases, "GB": sampler.device_bytes / 1e9}
        rows.append({**row, "GB for 76": sampler.device_bytes / 1e9 * 76 / cases})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two cases and short runs")
    parser.add_argument("--whole", action="store_true", help="build all 76 cases to measure the memory")
    parser.add_argument("--device", default="cpu", help="device of RoiPatchSampler")
    parser.add_argument("--out", help="JSON file for the table")
    arguments = parser.parse_args()
    heads = Heads(2 if arguments.quick else 8)
    cohort = [heads[index] for index in range(len(heads))]
    seconds = 0.5 if arguments.quick else 4.0
    peers = monai_loader(cohort, seconds) + torchio_queue(cohort, seconds)
    rows = ours(cohort, seconds, arguments.device) + peers + [copy_limit(arguments.device)]
    for peer in ("MONAI as usual", "MONAI tuned", "TorchIO"):
        best = max((row["patches/s"] for row in rows if row["loader"].startswith(peer)), default=None)
        for row in rows:
            if best and row["loader"].startswith("RoiPatchSampler"):
                row[f"times {peer}"] = row["patches/s"] / best
    report("Patches per second, ready batches", rows, arguments.out)
    report("Start-up", start_up())
    report("Memory", memory(76 if arguments.whole else len(heads)))


if __name__ == "__main__":
    main()
