"""Training patches per second of se_unet3d: the bundle's trainer beside a plain fp32 loop.

    python benchmarks/bench_training.py [--quick] [--device cuda] [--compile] [--out result.json]

Both do the same work: patches of 32x32x16 with two channels, half on lesion and half in the brain, the 2021
network, Dice and cross-entropy, Adadelta, batches of 32; cutting patches, loss and weight update are part of
the time. The plain loop is what one writes first: RandCropByLabelClassesd on cached volumes, a DataLoader,
fp32, default memory layout. The bundle's is SupervisedTrainer with RoiPatchSampler, bfloat16 where the
hardware has it, channels last. Rows in between say what each part is worth.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from common import report, synchronize
from ignite.engine import Events
from monai.data import CacheDataset, DataLoader, MetaTensor
from monai.engines import SupervisedTrainer
from monai.losses import DiceCELoss
from monai.transforms import ClassesToIndicesd, Compose, Lambdad, RandCropByLabelClassesd, SelectItemsd

from tools.engine.precision import with_precision
from tools.sampling.sampler import RoiPatchSampler

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bundles" / "se_unet3d"))
from scripts.loss import DiceCrossEntropy
from scripts.network import SEUNet

ROI, BATCH, WARM_UP = (32, 32, 16), 32, 2


def make_cohort(cases: int) -> list[dict[str, Any]]:
    """Preprocessed heads: noise in an ellipsoid of brain, a brighter ball as lesion; and the mirror image."""
    axes = [torch.arange(size) * 2 / (size - 1) - 1 for size in (320, 400, 30)]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    brain = (x**2 + y**2 + z**2 < 1)[None]
    cohort = []
    for seed in range(cases):
        middle = torch.rand(3, generator=torch.Generator().manual_seed(seed)) - 0.5
        lesion = ((x - middle[0]) ** 2 + (y - middle[1]) ** 2 + (z - middle[2]) ** 2 < 0.03)[None] & brain
        noise = 0.05 * torch.randn(brain.shape, generator=torch.Generator().manual_seed(seed))
        image = (0.3 + 0.3 * lesion + noise).clamp(0, 1) * brain
        volumes = {
            "image": torch.cat([image, image.flip(1)]),
            "label": lesion.float(),
            "brain": brain.float(),
        }
        cohort.append({key: MetaTensor(volume) for key, volume in volumes.items()})
    return cohort


def endless(loader: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def plain_loader(cohort: list[dict[str, Any]]) -> DataLoader:
    """MONAI's crops: 16 patches from each of 2 cases to a batch, brain and lesion alike."""
    classes = [{**item, "classes": (item["brain"] > 0) + (item["label"] > 0).long()} for item in cohort]
    steps = [
        Lambdad("classes", lambda x: x.float()),
        ClassesToIndicesd("classes", num_classes=3, indices_postfix="_indices"),
        RandCropByLabelClassesd(
            ["image", "label"],
            "classes",
            ROI,
            ratios=[0, 1, 1],
            num_classes=3,
            num_samples=BATCH // 2,
            indices_key="classes_indices",
        ),
        SelectItemsd(["image", "label"]),
    ]
    data = CacheDataset(classes, Compose(steps), progress=False, copy_cache=False)
    return DataLoader(data, batch_size=2, shuffle=True, num_workers=0)


def plain_loop(cohort: list[dict[str, Any]], batches: int, device: str) -> float:
    """Patches per second of the loop that one writes first."""
    torch.manual_seed(0)
    network = SEUNet().to(device)
    optimizer = torch.optim.Adadelta(network.parameters())
    loss_function = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)
    times = []
    for batch, _ in zip(endless(plain_loader(cohort)), range(WARM_UP + batches + 1), strict=False):
        times.append(now(device))
        image, label = (batch[key].as_tensor().to(device) for key in ("image", "label"))
        optimizer.zero_grad()
        loss_function(network(image), label).backward()
        optimizer.step()
    return rate(times)


def bundle_trainer(
    cohort: list[dict[str, Any]], batches: int, device: str, amp: bool | str, compiled: bool = False
) -> float:
    """Patches per second of what configs/train.yaml sets up."""
    torch.manual_seed(0)
    each = -(-(WARM_UP + batches) * BATCH // len(cohort))
    sampler = RoiPatchSampler(cohort, ROI, "brain", each, BATCH, device=device, progress=False)
    network = with_precision(SEUNet(), device, amp)
    times = []
    trainer = SupervisedTrainer(
        device=torch.device(device),
        max_epochs=1,
        train_data_loader=sampler,
        network=network,
        optimizer=torch.optim.Adadelta(network.parameters()),
        loss_function=DiceCrossEntropy(),
        decollate=False,
        optim_set_to_none=True,
        compile=compiled,
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: times.append(now(device)))
    trainer.run()
    return rate(times)


def now(device: str) -> float:
    synchronize(device)
    return time.perf_counter()


def rate(times: list[float]) -> float:
    """Patches per second, by the median batch after the warm-up."""
    steps = [after - before for before, after in zip(times[WARM_UP - 1 :], times[WARM_UP:], strict=False)]
    return BATCH / statistics.median(steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few batches")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="also with torch.compile (minutes on a CPU)")
    parser.add_argument("--out", help="JSON file for the table")
    arguments = parser.parse_args()
    cohort, device = make_cohort(2), arguments.device
    batches = (3 if arguments.quick else 9) * (1 if device == "cpu" else 50)
    speeds = {
        "plain loop, fp32": plain_loop(cohort, batches, device),
        "bundle, fp32, channels last": bundle_trainer(cohort, batches, device, amp=False),
        "bundle, bfloat16, channels last (train.yaml)": bundle_trainer(cohort, batches, device, amp="auto"),
    }
    if arguments.compile:
        speeds["the same with --compile true"] = bundle_trainer(cohort, batches, device, "auto", True)
    slowest = next(iter(speeds.values()))
    rows = [
        {"training": name, "patches/s": speed, "ms/patch": 1000 / speed, "times plain": speed / slowest}
        for name, speed in speeds.items()
    ]
    report(f"Training, patches of {'x'.join(map(str, ROI))}, batches of {BATCH}", rows, arguments.out)


if __name__ == "__main__":
    main()
