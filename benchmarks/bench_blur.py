"""Seconds of a Gaussian blur of the slices of a head CT on one core: sums of shifted copies and other ways.

    python benchmarks/bench_blur.py

The peers are PyTorch's convolution of one channel and SciPy's `gaussian_filter1d`; all give the same values.
"""

from __future__ import annotations

from functools import partial

import torch
from common import report, seconds
from scipy.ndimage import gaussian_filter1d
from torch.nn import functional as F

from tools.phantom.scanner.closed_form import blur_slices

SIGMA = 0.8  # voxels


def by_convolution(volume: torch.Tensor) -> torch.Tensor:
    """PyTorch, one direction after the other."""
    t = torch.arange(-3.0, 4.0)
    weight = torch.exp(-0.5 * (t / SIGMA) ** 2)
    weight = weight / weight.sum()
    out = volume.permute(2, 0, 1)[:, None]
    out = F.conv2d(F.pad(out, (0, 0, 3, 3), mode="replicate"), weight.view(1, 1, -1, 1))
    out = F.conv2d(F.pad(out, (3, 3, 0, 0), mode="replicate"), weight.view(1, 1, 1, -1))
    return out[:, 0].permute(1, 2, 0)


def by_scipy(volume: torch.Tensor) -> torch.Tensor:
    """SciPy, one direction after the other."""
    out = volume.numpy()
    for axis in (0, 1):
        out = gaussian_filter1d(out, SIGMA, axis, mode="nearest", radius=3)
    return torch.from_numpy(out)


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for shape in ((256, 256, 32), (512, 512, 32)):
        volume = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        ways = {
            "ours": lambda volume: blur_slices(volume, (SIGMA, SIGMA)),
            "PyTorch": by_convolution,
            "SciPy": by_scipy,
        }
        results = [way(volume) for way in ways.values()]
        assert all(torch.allclose(results[0], result, atol=1e-5) for result in results)
        taken = {name: seconds(partial(way, volume), 5) for name, way in ways.items()}
        rows.append(
            {
                "voxels": "x".join(map(str, shape)),
                **{f"{name}, s": f"{wall:.3f}" for name, wall in taken.items()},
                **{f"{name} / ours": f"{taken[name] / taken['ours']:.1f}" for name in ("PyTorch", "SciPy")},
            }
        )
    report("blur of slices", rows)


if __name__ == "__main__":
    main()
