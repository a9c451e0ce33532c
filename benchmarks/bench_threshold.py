"""Grid search of the threshold baseline (Hssayeni 2020) beside thresholding every slice with every pair.

Bound: all 111 x 46 pairs over 300 slices of 640x640 in 10 s on 2 cores. The plain loop is timed on some of
the pairs and its time for all of them is extrapolated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "bundles" / "dunet"))
from common import report, seconds
from scripts.threshold_search import LOWER, UPPER, best_thresholds, grey_histograms, jaccard_grid

LOOP_PAIRS = 4


def slices(count: int, side: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey noise with a brighter disc in each slice."""
    random = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    grey = torch.randint(0, 180, (count, side, side), dtype=torch.uint8, generator=random)
    lesion = torch.zeros(count, side, side, dtype=torch.bool)
    for k in range(count):
        lesion[k] = (y - side // 3 - k % 90) ** 2 + (x - side // 2) ** 2 < (10 + k % 40) ** 2
        grey[k] += 60 * lesion[k]
    return grey.to(device), lesion.to(device)


def loop(grey: torch.Tensor, lesion: torch.Tensor, pairs: list[tuple[int, int]]) -> list[float]:
    """Mean Jaccard index of each pair, slice by slice."""
    scores = []
    for lower, upper in pairs:
        total = 0.0
        for values, truth in zip(grey, lesion, strict=True):
            found = (values >= lower) & (values <= upper)
            total += float((found & truth).sum() / (found | truth).sum())
        scores.append(total / len(grey))
    return scores


def bench(count: int, side: int, device: str) -> dict[str, Any]:
    """One line of the table."""
    grey, lesion = slices(count, side, device)
    pairs = [(LOWER[k * 29], UPPER[k * 11]) for k in range(LOOP_PAIRS)]
    ours = seconds(lambda: best_thresholds(grey_histograms(grey, lesion)), 3, device)
    peer = seconds(lambda: loop(grey, lesion, pairs), 1, device)
    grid = jaccard_grid(grey_histograms(grey, lesion)).mean(0).cpu()
    expected = loop(grey, lesion, pairs)
    difference = max(
        abs(float(grid[a - LOWER[0], b - UPPER[0]]) - score)
        for (a, b), score in zip(pairs, expected, strict=True)
    )
    whole = peer / LOOP_PAIRS * len(LOWER) * len(UPPER)
    return {
        "device": device,
        "slices": f"{count} of {side}x{side}",
        "pairs": len(LOWER) * len(UPPER),
        "ours s": ours,
        "loop s (extrapolated)": whole,
        "loop / ours": whole / ours,
        "bound s": 10.0,
        "within": ours <= 10.0,
        "largest difference": difference,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few slices: does it run?")
    parser.add_argument("--out", help="JSON file")
    arguments = parser.parse_args()
    size = (20, 128) if arguments.quick else (300, 640)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    report("Threshold baseline, grid search", [bench(*size, device) for device in devices], arguments.out)


if __name__ == "__main__":
    main()
