"""Milliseconds per 256x256 slice of every 2D network: batches of 1 and 32, float32 and bfloat16.

    python benchmarks/bench_slices.py [--models unet6,pspnet] [--batches 1,32] [--device cuda] [--out r.json]

Forward pass alone, in evaluation mode, random weights: each network as its bundle's configurations make it,
by `tools.engine.precision.with_precision` (channels last). Networks take turns, so that all meet the same
machine.
Table II of Li 2021 is `--batches 1`. UNet6Gan is UNet6 there: the discriminator has no part in inference.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from common import report, synchronize
from torch import nn

from tools.engine.precision import with_precision

BUNDLES = Path(__file__).resolve().parent.parent / "bundles"
SIZE = 256
FAMILY = ("unet6", "unet6_dil", "unet10")
OTHERS = ("pix2pix7", "unet", "deeplabv3plus", "fcn", "pspnet", "refinenet", "segnet")
GAN = ("gan_unet2d", "models", "make_network")
NETWORKS = {
    # name: bundle, module, function, arguments; one line for each network that takes slices
    **{name: (*GAN, {"name": name, "features": 32}) for name in FAMILY},
    "unet6_64": (*GAN, {"name": "unet6", "features": 64}),
    **{name: (*GAN, {"name": name, "features": 64}) for name in OTHERS},
    "unet6_incep": ("unetpp_pretrained", "network", "EncoderUNetPlusPlus", {"encoder": "inceptionv4"}),
    "unet6_vgg": ("unetpp_pretrained", "network", "EncoderUNetPlusPlus", {"encoder": "vgg16"}),
}


@contextmanager
def bundle_on_path(name: str) -> Iterator[None]:
    """Import the package `scripts` of one bundle: Python keeps the first of that name it meets."""
    sys.path.insert(0, str(BUNDLES / name))
    try:
        yield
    finally:
        sys.path.pop(0)
        for module in [key for key in sys.modules if key.split(".")[0] == "scripts"]:
            del sys.modules[module]


def make(name: str) -> nn.Module:
    """The network with random weights, in evaluation mode."""
    bundle, module, function, arguments = NETWORKS[name]
    with bundle_on_path(bundle):
        torch.manual_seed(0)
        return getattr(importlib.import_module(f"scripts.{module}"), function)(**arguments).eval()


def milliseconds(
    forwards: dict[str, Callable[[], object]], device: str, repeats: int, limit: float
) -> dict[str, float]:
    """Median time of each call; they take turns until `repeats`, or `limit` seconds for one of them."""
    times: dict[str, list[float]] = {name: [] for name in forwards}
    for forward in forwards.values():  # warm-up
        forward()
    for _ in range(repeats):
        for name, forward in forwards.items():
            if times[name] and sum(times[name]) > limit:
                continue
            synchronize(device)
            start = time.perf_counter()
            forward()
            synchronize(device)
            times[name].append(time.perf_counter() - start)
    return {name: 1000 * statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(NETWORKS), help="names, separated by commas")
    parser.add_argument("--batches", default="1,32", help="batch sizes, separated by commas")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--limit", type=float, default=2.0, help="seconds of repeats per network")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", help="JSON file for the table")
    arguments = parser.parse_args()
    names, device = arguments.models.split(","), arguments.device
    rows: dict[str, dict[str, object]] = {name: {"network": name} for name in names}
    for precision, amp in (("fp32", False), ("bf16", True)):
        networks = {name: with_precision(make(name), device, amp) for name in names}
        for name, network in networks.items():
            rows[name]["million parameters"] = sum(p.numel() for p in network.parameters()) / 1e6
        for batch in map(int, arguments.batches.split(",")):
            image = torch.rand(batch, 1, SIZE, SIZE, device=device)
            calls = {name: partial(network, image) for name, network in networks.items()}
            with torch.inference_mode():
                times = milliseconds(calls, device, arguments.repeats, arguments.limit)
            for name, value in times.items():
                rows[name][f"{precision}, batch {batch}"] = value / batch
    report(f"Milliseconds per {SIZE}x{SIZE} slice", list(rows.values()), arguments.out)


if __name__ == "__main__":
    main()
