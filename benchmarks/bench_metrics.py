"""Metrics side by side with MONAI's and DeepMind's: speed, and the largest difference of the values.

Bounds: location, Dice, IoU, precision and recall of 1,000 slices of 256x256 in 0.5 s on 2 cores (20 ms on a
GPU); all INSTANCE 2022 scores of one 512x512x30 pair in 3 s.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou, compute_surface_dice

sys.path.insert(0, str(Path(__file__).parent))
from common import report, seconds

from tools.metrics import compute_overlap, instance2022_scores, match_lesions
from tools.metrics.location import hits
from tools.metrics.overlap import overlap_counts, overlap_scores
from tools.metrics.pr_curve import pr_counts

SPACING = (0.42, 0.42, 5.0)


def slices(n: int, dtype: torch.dtype, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Slices with one round bleed each, the prediction moved by a few pixels."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    centre = 60 + 130 * torch.rand(n, 2, 1, 1, generator=generator)
    radius = 3 + 25 * torch.rand(n, 1, 1, generator=generator)
    truth = (y - centre[:, 0]) ** 2 + (x - centre[:, 1]) ** 2 < radius**2
    pred = (y - centre[:, 0] - 3) ** 2 + (x - centre[:, 1] + 4) ** 2 < radius**2
    return pred[:, None].to(device, dtype), truth[:, None].to(device, dtype)


def ellipsoid(centre: tuple[float, ...], radii: tuple[float, ...], shape: tuple[int, ...]) -> torch.Tensor:
    """Mask of an ellipsoid, centre and radii in mm."""
    axes = [
        ((torch.arange(n) * s - c) / r) ** 2 for n, s, c, r in zip(shape, SPACING, centre, radii, strict=True)
    ]
    return axes[0][:, None, None] + axes[1][:, None] + axes[2] < 1


def bench_overlap(n: int, device: str) -> list[dict[str, Any]]:
    """Ours against MONAI's per-image loop, for masks as networks leave them (float) and as bool."""
    rows = []
    for dtype in (torch.float32, torch.bool):
        pred, truth = slices(n, dtype, device)

        def ours(pred: torch.Tensor = pred, truth: torch.Tensor = truth) -> None:
            counts = overlap_counts(pred, truth)
            overlap_scores(counts)
            hits(counts)

        floats = pred.float(), truth.float()  # the peer's IoU takes no bool

        def peer(pred=pred, truth=truth, floats=floats) -> None:
            compute_dice(pred, truth, ignore_empty=False)
            compute_iou(*floats, ignore_empty=False)

        rows.append(
            row(
                f"LA, Dice, IoU, P, R of {n} slices 256x256, {dtype}".replace("torch.", ""),
                seconds(ours, 3, device),
                seconds(peer, 1, device),
                "MONAI (Dice, IoU only)",
                0.5 if device == "cpu" else 0.02,
            )
        )
        difference = compute_overlap(pred, truth)["dice"].float() - compute_dice(
            pred, truth, ignore_empty=False
        )
        rows[-1]["largest difference"] = float(difference.abs().max())
    return rows


def bench_instance(shape: tuple[int, ...]) -> list[dict[str, Any]]:
    """Typical and worst pairs against the surface-distance package (or MONAI without it)."""
    mid = tuple(n * s / 2 for n, s in zip(shape, SPACING, strict=True))

    def at(dx: float, dy: float, *radii: float) -> torch.Tensor:
        return ellipsoid((mid[0] + dx, mid[1] + dy, mid[2]), radii, shape)

    generator = torch.Generator().manual_seed(0)
    noise = [torch.rand(shape, generator=generator) < 0.01 for _ in range(2)]
    pairs = {
        "60 mL bleed": (at(-30, 0, 25, 25, 23), at(-27, -2, 24, 27, 23)),
        "two far bleeds": (at(-50, 0, 25, 25, 23), at(50, 0, 25, 25, 23)),
        "bleed of half a brain, on the other side": (at(-56, 0, 40, 85, 70), at(56, 0, 40, 85, 70)),
        "prediction is the whole brain": (at(0, 0, 70, 85, 70), at(10, 0, 8, 8, 8)),
        "1 % noise in both": tuple(noise),
    }
    rows = []
    for name, (pred, truth) in pairs.items():
        ours = seconds(lambda p=pred, t=truth: instance2022_scores(p, t, SPACING), 1)
        scores, start = instance2022_scores(pred, truth, SPACING), time.perf_counter()
        expected, peer = reference(pred, truth)
        elapsed = time.perf_counter() - start
        label = f"INSTANCE 2022, {'x'.join(map(str, shape))}, {name}"
        rows.append(row(label, ours, elapsed, peer, 3.0))
        rows[-1]["largest difference"] = max(abs(scores[k] - v) for k, v in expected.items())
    return rows


def reference(pred: torch.Tensor, truth: torch.Tensor) -> tuple[dict[str, float], str]:
    """nsd, hd, hd95 of the package that the challenge used; MONAI's distances if it is not installed."""
    try:
        import surface_distance
    except ImportError:
        p, t = pred[None, None].float(), truth[None, None].float()
        dice = compute_surface_dice(
            p, t, [0.42], include_background=True, spacing=SPACING, use_subvoxels=True
        )
        for percentile in (None, 95):
            compute_hausdorff_distance(p, t, include_background=True, spacing=SPACING, percentile=percentile)
        return {"nsd": float(dice)}, "MONAI (other surface)"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distances = surface_distance.compute_surface_distances(truth.numpy(), pred.numpy(), SPACING)
    values = {
        "nsd": surface_distance.compute_surface_dice_at_tolerance(distances, 0.42),
        "hd": surface_distance.compute_robust_hausdorff(distances, 100),
        "hd95": surface_distance.compute_robust_hausdorff(distances, 95),
    }
    return {k: float(v) for k, v in values.items()}, "surface-distance 0.1"


def bench_others(shape: tuple[int, ...], device: str) -> list[dict[str, Any]]:
    """What has no peer: times only."""
    truth = ellipsoid(tuple(n * s / 2 for n, s in zip(shape, SPACING, strict=True)), (25, 25, 23), shape)
    prob = torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(0)).to(device)
    mask = truth[None, None].to(device)
    size = "x".join(map(str, shape))
    return [
        row(f"counts of one volume {size}", seconds(lambda: overlap_counts(mask, mask), 3, device)),
        row(f"precision-recall counts, {size}", seconds(lambda: pr_counts(prob, mask), 3, device)),
        row(f"lesions, {size}", seconds(lambda: match_lesions(truth, truth, SPACING), 3)),
    ]


def row(
    name: str, ours: float, peer: float | None = None, peer_name: str = "", bound: float | None = None
) -> dict[str, Any]:
    """One line of the table, times in seconds."""
    return {
        "what": name,
        "ours s": ours,
        "peer": peer_name,
        "peer s": "" if peer is None else peer,
        "peer / ours": "" if peer is None else peer / ours,
        "bound s": "" if bound is None else bound,
        "within": "" if bound is None else ours <= bound,
        "largest difference": "",
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small inputs: does it run?")
    parser.add_argument("--out", help="JSON file")
    arguments = parser.parse_args()
    n, shape = (50, (256, 256, 8)) if arguments.quick else (1000, (512, 512, 30))
    rows = []
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        for line in [*bench_overlap(n, device), *bench_others(shape, device)]:
            rows.append({"device": device, **line})
    rows += [{"device": "cpu", **line} for line in bench_instance(shape)]
    report("Metrics", rows, arguments.out)


if __name__ == "__main__":
    main()
