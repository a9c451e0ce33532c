"""Inference of one head CT on this machine: the brain's windows in mixed precision beside MONAI's inferer.

    python benchmarks/bench_inference.py [--quick] [--weights model.pt] [--monai-batch 1] [--out result.json]

A synthetic head CT of 512x512x30 voxels goes through the bundle's preprocessing. Then two stages are timed:
the whole stripped volume (what a sliding window over a CT means) and the volume cropped to the brain (what
the bundle hands to its inferer), each with windows of 32x32x16 and the overlap of the bundle.
MONAI's `SlidingWindowInferer` runs the plain network in fp32 on the same tensor, with as many windows at a
time unless `--monai-batch` says otherwise (its own default is 1); as it averages what the network returns,
the softmax is put into the network, so that both average probabilities. Both are run in turn, `--repeats`
times, and the fastest run of each counts, since other work on the machine only ever adds time. Dice is
between the two label maps, ours with close voxels decided in float32 (`refined`) and without. Without
weights, the network is first trained a little on another head, as an untrained one finds no lesion.

On a machine that does other work, `--cpu-time` measures the processor's seconds of one thread instead: of
several threads some wait for the others, and waiting counts.

Last it says what the processor allows: operations of the network per window, and the rate of matrix products
in fp32 and bfloat16; and what the 2022 version's many windows would take.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import report, synchronize, table
from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "se_unet3d"
sys.path.insert(0, str(BUNDLE))

from scripts.brain_windows import WindowProbabilityInferer  # noqa: E402
from scripts.network import SEUNet  # noqa: E402
from scripts.preprocessing import Preprocessing  # noqa: E402

from tools.engine.checkpoint import weights_settings  # noqa: E402
from tools.engine.postprocess import label_from_probabilities  # noqa: E402
from tools.engine.precision import with_precision  # noqa: E402
from tools.phantom import write_phantoms  # noqa: E402
from tools.sampling.sampler import RoiPatchSampler  # noqa: E402

ROI, OVERLAP, SHAPE, SPACING = (32, 32, 16), 0.5625, (512, 512, 30), (0.45, 0.45, 5.0)
REFINE = 0.02  # as configs/inference.yaml


clock = time.perf_counter


def make_head(seed: int, shape: tuple[int, ...], labelled: bool) -> tuple[dict, float]:
    """A preprocessed head, with label and hyperdense region if `labelled`, and the seconds that took."""
    spacing = tuple(s * full / n for s, full, n in zip(SPACING, SHAPE, shape, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(folder, cases=1, seed=seed, kind="iph_ivh", shape=shape, spacing=spacing, folds=1)
        keys = ("image", "label") if labelled else ("image",)
        item = {key: str(Path(folder) / f"{key}s" / "case_000.nii.gz") for key in keys}
        start = time.perf_counter()
        head = Preprocessing(regions=labelled)(item)
        return head, time.perf_counter() - start


def train(network: nn.Module, head: dict, steps: int, device: str) -> None:
    """A few steps on one head, as the bundle trains."""
    network.train()
    optimizer = torch.optim.Adadelta(network.parameters())
    sampler = RoiPatchSampler(
        [head], ROI, mix="border_or_ivh", patches_per_case=steps * 16, batch_size=16, seed=0
    )
    for batch in sampler:
        optimizer.zero_grad()
        logits = network(batch["image"].to(device))
        label = batch["label"].to(device).long()[:, 0]
        probability = logits.softmax(1)[:, 1]
        dice = 1 - 2 * (probability * label).sum() / (probability.sum() + label.sum() + 1e-5)
        (dice + nn.functional.cross_entropy(logits, label)).backward()
        optimizer.step()


def timed(function: Callable[[], Tensor], device: str) -> tuple[Tensor, float]:
    """Result and seconds of one call, by the clock that `--cpu-time` chooses."""
    synchronize(device)
    start = clock()
    result = function()
    synchronize(device)
    return result, clock() - start


def compare(
    name: str,
    image: Tensor,
    brain: Tensor,
    plain: nn.Module,
    fast: nn.Module,
    device: str,
    monai_batch: int | None,
    repeats: int,
) -> dict:
    """One row: the same tensor, windows and weights for both."""
    windows = {"MONAI": 0, "ours": 0, "refined": 0}

    def count(who: str, forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            windows[who] += len(x)
            return forward(x)

        return run

    batch = 8 if device == "cpu" else 256
    with_softmax = nn.Sequential(plain, nn.Softmax(1))
    network = count("ours", fast)
    if hasattr(fast, "in_float32"):
        network.in_float32 = count("refined", fast.in_float32)
    ours, refined = (
        WindowProbabilityInferer(ROI, batch, OVERLAP),
        WindowProbabilityInferer(ROI, batch, OVERLAP, refine=REFINE),
    )
    monai = SlidingWindowInferer(ROI, monai_batch or batch, OVERLAP)
    ways = {
        "MONAI fp32": lambda: monai(image, count("MONAI", with_softmax)),
        "refined": lambda: refined(image, network, brain=brain),
        "ours": lambda: ours(image, count("ours", fast), brain=brain),
    }
    seconds, maps = dict.fromkeys(ways, math.inf), {}
    with torch.no_grad():
        for each in (plain, fast):  # oneDNN and cuDNN prepare at the first call
            each(image.new_zeros((batch, image.shape[1], *ROI)))
        for _ in range(repeats):
            windows = dict.fromkeys(windows, 0)
            for way, run in ways.items():
                result, taken = timed(run, device)
                seconds[way], maps[way] = min(seconds[way], taken), label_from_probabilities(result[0]) > 0
    return {
        "volume": f"{name} {'x'.join(map(str, image.shape[2:]))}",
        "windows": windows["ours"] // 2,  # of two runs, with and without refining
        "refined windows": windows["refined"],
        "MONAI windows": windows["MONAI"],
        "ours s": seconds["refined"],
        "without refining s": seconds["ours"],
        "MONAI fp32 s": seconds["MONAI fp32"],
        "times faster": seconds["MONAI fp32"] / seconds["refined"],
        "Dice": dice(maps["refined"], maps["MONAI fp32"]),
        "Dice without refining": dice(maps["ours"], maps["MONAI fp32"]),
        "lesion voxels": int(maps["MONAI fp32"].sum()),
    }


def instance2022(image: Tensor, brain: Tensor, device: str) -> dict:
    """The 2022 version on the same head: how many windows, and their time from that of one batch."""
    batch, roi = 8 if device == "cpu" else 256, (48, 48, 16)
    deep = SEUNet(in_channels=1, features=(32, 64, 128, 256, 512), se="skips", dropout=(0.25, 0.5, 0.5, 0.5))
    network = with_precision(deep.eval(), device)
    windows = 0

    def count(x: Tensor) -> Tensor:
        nonlocal windows
        windows += len(x)
        return x.new_zeros((len(x), 2, *roi))

    WindowProbabilityInferer(roi, batch, step=(8, 8, 2))(image[:, :1], count, brain=brain)
    some = torch.rand((batch, 1, *roi), device=device)
    with torch.no_grad():
        each = min(timed(lambda: network(some), device)[1] for _ in range(6)) / batch
    return {"windows": windows, "ms per window": 1000 * each, "seconds for all": windows * each}


def dice(a: Tensor, b: Tensor) -> float:
    """Of two label maps, in double precision."""
    return float(2 * (a * b).sum().double() / (a.sum() + b.sum()).clamp(min=1))


def what_the_hardware_allows(network: nn.Module, device: str) -> dict:
    """Operations per window, and the rate of large matrix products in both precisions."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros((1, 2, *ROI), device=device))
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(2048, 2048, device=device).to(dtype) for _ in range(2))
        times = [timed(lambda a=a, b=b: a @ b, device)[1] for _ in range(8)]
        rates[dtype] = 2 * 2048**3 / min(times) / 1e9
    return {
        "GFLOP per window": counter.get_total_flops() / 1e9,
        "GFLOP/s fp32": rates[torch.float32],
        "GFLOP/s bfloat16": rates[torch.bfloat16],
        "bfloat16 / fp32": rates[torch.bfloat16] / rates[torch.float32],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the pixels, fewer training steps")
    parser.add_argument("--weights", help="state dict of the network")
    parser.add_argument("--train-steps", type=int, default=300, help="steps of 16 patches, without weights")
    parser.add_argument("--monai-batch", type=int, help="windows at a time of MONAI's inferer, default ours")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each, in turn")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, seconds of the processor")
    parser.add_argument("--save-weights", help="where to keep what was trained")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    if args.cpu_time:
        global clock
        clock = time.process_time
        torch.set_num_threads(1)
    shape = (256, 256, 30) if args.quick else SHAPE
    torch.manual_seed(0)
    notes = weights_settings(args.weights) if args.weights else {}
    plain = SEUNet(out_channels=notes.get("out_channels", 2))
    if args.weights:
        plain.load_state_dict(torch.load(args.weights, weights_only=True))  # fp16 too
    else:
        network = with_precision(copy.deepcopy(plain), args.device)
        train(
            network,
            make_head(1, shape, labelled=True)[0],
            60 if args.quick else args.train_steps,
            args.device,
        )
        plain.load_state_dict(network.state_dict())
        if args.save_weights:
            torch.save(plain.state_dict(), args.save_weights)
    plain = plain.eval().to(args.device)
    fast = with_precision(copy.deepcopy(plain), args.device)
    head, preprocessing_s = make_head(2, shape, labelled=False)
    cropped, brain = (head[key].as_tensor()[None].to(args.device) for key in ("image", "brain"))
    margins = [n - m for n, m in zip(reversed(shape), reversed(cropped.shape[2:]), strict=True)]
    pad = [n for margin in margins for n in (margin // 2, margin - margin // 2)]
    whole, whole_brain = nn.functional.pad(cropped, pad), nn.functional.pad(brain, pad)
    how = (plain, fast, args.device, args.monai_batch, args.repeats)
    rows = [
        compare("whole", whole, whole_brain, *how),
        compare("cropped to brain", cropped, brain, *how),
    ]
    how_timed = ", processor seconds of one thread" if args.cpu_time else ""
    report(f"Inference, windows {ROI}, overlap {OVERLAP}{how_timed}", rows, args.out)
    print("What the hardware allows:\n\n" + table([what_the_hardware_allows(plain, args.device)]) + "\n")
    later = instance2022(cropped, brain, args.device)
    print("The 2022 version, steps of 8, 8, 2 voxels:\n\n" + table([later]) + "\n")
    print(f"Preprocessing of that scan, file to tensor: {preprocessing_s:.1f} s")


if __name__ == "__main__":
    main()
