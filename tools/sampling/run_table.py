"""Masks as runs of consecutive voxels: small to keep, and any voxel of them is drawn with equal chance.

A brain of 2.3 million voxels takes 9 MB as indices and about 0.6 MB as runs: the regions of a whole cohort
stay on the device beside its images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mask_runs(mask: Tensor) -> Tensor:
    """Runs of a mask of any shape, (R, 2) int64: flat index of the first voxel (C order), length."""
    flat = mask.reshape(-1).to(torch.int8)
    steps = torch.diff(flat, prepend=flat.new_zeros(1), append=flat.new_zeros(1))
    edges = torch.nonzero(steps).reshape(-1, 2)
    return torch.stack([edges[:, 0], edges[:, 1] - edges[:, 0]], dim=1)


class RunTable:
    """The regions of all cases as one flat table of runs, from which voxels are drawn in one vectorised call.

    Args:
        runs: `runs[case][region]`, each (R, 2) as `mask_runs` gives them.
        device: where the table is kept.
    """

    def __init__(self, runs: Sequence[Sequence[Tensor]], device: torch.device | str = "cpu") -> None:
        rows = torch.cat([region.cpu() for case in runs for region in case])
        counts = torch.tensor([[int(region[:, 1].sum()) for region in case] for case in runs])
        self.counts = counts
        """Voxels per case and region, (cases, regions) int64, on the CPU."""
        self._count = counts.to(device)
        self._first = (counts.flatten().cumsum(0) - counts.flatten()).reshape(counts.shape).to(device)
        self._start = rows[:, 0].to(device, torch.int32)  # a volume has fewer than 2^31 voxels
        self._before = (rows[:, 1].cumsum(0) - rows[:, 1]).to(device)

    def draw(self, case: Tensor, region: Tensor, chance: Tensor) -> Tensor:
        """Flat voxel indices (N,) int64, uniform within a region of a case.

        Args:
            case, region: indices (N,); the region must have voxels in that case.
            chance: (N,) float64 in [0, 1), which voxel of the region is meant.
        """
        count = self._count[case, region]
        rank = torch.minimum((chance * count).long(), count - 1) + self._first[case, region]
        run = torch.searchsorted(self._before, rank, right=True) - 1
        return rank - self._before[run] + self._start[run]

    def nbytes(self) -> int:
        """Bytes that the table takes on its device."""
        tensors = (self._count, self._first, self._start, self._before)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
