"""Inference of one head CT on this machine: the brain's windows in mixed precision beside MONAI's inferer.

    python benchmarks/bench_inference.py [--quick] [--weights model.pt] [--out result.json]

A synthetic head CT of 512x512x30 voxels goes through the bundle's preprocessing. Then two stages are timed:
the whole stripped volume (what a sliding window over a CT means) and the volume cropped to the brain (what
the bundle hands to its inferer), each with windows of 32x32x16 that overlap by half (Abramova 2021).
MONAI's `SlidingWindowInferer` runs the plain network in fp32 on the same tensor; as it averages what the
network returns, the softmax is put into the network, so that both average probabilities. Dice is between the
two label maps. Without weights, the network is first trained a little on another head, as an untrained one
finds no lesion to compare.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import report, synchronize
from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "se_unet3d"
sys.path.insert(0, str(BUNDLE))

from scripts.network import SEUNet  # noqa: E402
from scripts.preprocessing import Preprocessing  # noqa: E402

from tools.inferer import BrainWindowInferer  # noqa: E402
from tools.phantom import write_phantoms  # noqa: E402
from tools.precision import with_precision  # noqa: E402
from tools.sampling import RoiPatchSampler  # noqa: E402

ROI, OVERLAP, SHAPE, SPACING = (32, 32, 16), 0.5, (512, 512, 30), (0.45, 0.45, 5.0)


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
    """Result and seconds of one call."""
    synchronize(device)
    start = time.perf_counter()
    result = function()
    synchronize(device)
    return result, time.perf_counter() - start


def compare(name: str, image: Tensor, brain: Tensor, plain: nn.Module, fast: nn.Module, device: str) -> dict:
    """One row: the same tensor, windows and weights for both."""
    windows = {"ours": 0, "MONAI": 0}

    def count(who: str, network: nn.Module) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            windows[who] += len(x)
            return network(x)

        return forward

    batch = 8 if device == "cpu" else 256
    ours = BrainWindowInferer(ROI, batch, OVERLAP)
    monai = SlidingWindowInferer(ROI, batch, OVERLAP)
    with torch.no_grad():
        for network in (plain, fast):  # oneDNN and cuDNN prepare at the first call
            network(image.new_zeros((batch, image.shape[1], *ROI)))
        ours_map, ours_s = timed(lambda: ours(image, count("ours", fast), brain=brain).argmax(1), device)
        with_softmax = nn.Sequential(plain, nn.Softmax(1))
        monai_map, monai_s = timed(lambda: monai(image, count("MONAI", with_softmax)).argmax(1), device)
    both = 2 * (ours_map * monai_map).sum() / (ours_map.sum() + monai_map.sum()).clamp(min=1)
    return {
        "volume": f"{name} {'x'.join(map(str, image.shape[2:]))}",
        "windows": windows["ours"],
        "MONAI windows": windows["MONAI"],
        "ours s": ours_s,
        "MONAI fp32 s": monai_s,
        "times faster": monai_s / ours_s,
        "Dice": float(both),
        "lesion voxels": int(monai_map.sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the pixels, fewer training steps")
    parser.add_argument("--weights", help="state dict of the network")
    parser.add_argument("--train-steps", type=int, default=300, help="steps of 16 patches, without weights")
    parser.add_argument("--save-weights", help="where to keep what was trained")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    shape = (256, 256, 30) if args.quick else SHAPE
    torch.manual_seed(0)
    plain = SEUNet()
    if args.weights:
        plain.load_state_dict(torch.load(args.weights, weights_only=True))
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
    rows = [
        compare("whole", whole, whole_brain, plain, fast, args.device),
        compare("cropped to brain", cropped, brain, plain, fast, args.device),
    ]
    report(f"Inference, windows {ROI}, overlap {OVERLAP}", rows, args.out)
    print(f"Preprocessing of that scan, file to tensor: {preprocessing_s:.1f} s")


if __name__ == "__main__":
    main()
