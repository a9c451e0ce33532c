"""Which patches an epoch has, and in which order: a function of (seed, epoch) and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from tools.sampling.mix import RoiMix
from tools.sampling.patches import SYMMETRIES
from tools.sampling.run_table import RunTable

TURNS = {"none": 1, "x6": len(SYMMETRIES), "random": 1}
"""How often a drawn centre is used: as it is; under each of `SYMMETRIES`; under one of them by chance."""


@dataclass(frozen=True)
class EpochPlan:
    """One row per patch, in the order in which the patches are given out; all int64.

    Args:
        case: index of the case, (N,).
        region: index into `REGIONS`, (N,).
        centre: centre voxel in the whole volume, (N, 3).
        op: index into `SYMMETRIES`, (N,).
        chunks: the cases that are on the device together, in the order in which their patches come.
        sizes: patches per chunk.
    """

    case: Tensor
    region: Tensor
    centre: Tensor
    op: Tensor
    chunks: list[list[int]]
    sizes: list[int]


@dataclass(frozen=True)
class Planner:
    """Draws the plan of an epoch.

    Args:
        table: regions of the cases.
        shapes: shapes of the volumes, (cases, 3).
        mix: the strategy.
        patches_per_case: patches per case and epoch, before augmentation.
        turns: key of `TURNS`.
        balance: `case`, the mix holds in every case; `cohort`, over the whole cohort, where a region's
            patches are shared out evenly to the cases that have it.
        chunk: cases that are on the device together; None for all.
        redraw: draw other patches in every epoch; False: those of epoch 0, in another order.
        rank, world_size: the share of one of several processes.
    """

    table: RunTable
    shapes: Tensor
    mix: RoiMix
    patches_per_case: int
    turns: str = "none"
    balance: str = "case"
    chunk: int | None = None
    redraw: bool = True
    rank: int = 0
    world_size: int = 1

    @cached_property
    def shares(self) -> Tensor:
        """Shares per case, or of the whole cohort, (rows, regions): the mix where regions are empty."""
        counts = self.table.counts
        return self.mix.resolve(counts if self.balance == "case" else counts.sum(0, keepdim=True))

    def sizes(self) -> list[int]:
        """Patches of this process per chunk; the same in every epoch."""
        cases = len(self.shapes)
        step = self.chunk or cases
        each = self.patches_per_case * TURNS[self.turns]
        return [min(step, cases - first) * each // self.world_size for first in range(0, cases, step)]

    def draw(self, seed: int, epoch: int) -> EpochPlan:
        """The plan of this process."""
        # Random numbers come from the CPU, so that every device draws the same patches: one copy per epoch.
        random = generator(seed, epoch if self.redraw else 0)
        cases, each, copies = len(self.shapes), self.patches_per_case, TURNS[self.turns]
        by_case = self.balance == "case"
        case, region = self._by_case(random) if by_case else self._by_cohort(random)
        chance = torch.rand(len(case), generator=random, dtype=torch.float64)
        if not self.redraw:  # what was drawn stays; its order and random turns do not
            random = generator(seed, epoch, 0, 0, 0)
        turn = torch.randint(len(SYMMETRIES), (len(case),), generator=random)
        order = torch.randperm(len(case) * copies, generator=random)

        chunks = [list(range(cases))]
        if self.chunk is not None and self.chunk < cases:
            shuffled = torch.randperm(cases, generator=random)
            chunks = [part.tolist() for part in shuffled.split(self.chunk)]
            place = torch.empty(cases, dtype=torch.int64)
            place[shuffled] = torch.arange(cases) // self.chunk
            order = order[torch.argsort(place[case[order % len(case)]], stable=True)]
        parts = order.split([len(chunk) * each * copies for chunk in chunks])
        sizes = self.sizes()
        parts = [p[self.rank :: self.world_size][:size] for p, size in zip(parts, sizes, strict=True)]
        order = torch.cat(parts)

        row = order % len(case)
        op = turn[row] if self.turns == "random" else order // len(case)
        device = self.shapes.device
        case, region, chance, op = (t.to(device) for t in (case[row], region[row], chance[row], op))
        flat = self.table.draw(case, region, chance)
        _, ny, nz = self.shapes[case].unbind(1)
        centre = torch.stack([flat // (ny * nz), flat // nz % ny, flat % nz], dim=1)
        return EpochPlan(case, region, centre, op, chunks, sizes)

    def _by_case(self, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Case and region of every patch: each case has its share of every region, exact to one patch."""
        cases, each = len(self.shapes), self.patches_per_case
        case = torch.arange(cases).repeat_interleave(each)
        return case, _spread(self.shares, each, random).flatten()

    def _by_cohort(self, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Case and region of every patch: the mix holds over the cohort, exact to one patch."""
        counts = self.table.counts
        total = len(self.shapes) * self.patches_per_case
        region = _spread(self.shares, total, random)[0]
        case = torch.empty_like(region)
        for index in region.unique().tolist():
            rows = torch.nonzero(region == index)[:, 0]
            having = torch.nonzero(counts[:, index])[:, 0]
            having = having[torch.randperm(len(having), generator=random)]
            case[rows] = having[torch.arange(len(rows)) % len(having)]
        return case, region


def _spread(shares: Tensor, number: int, random: torch.Generator) -> Tensor:
    """Regions (rows, number) by `shares` (rows, regions), each exact to one patch and unbiased over epochs.

    Systematic sampling: equidistant points with one random phase per row.
    """
    phase = torch.rand(len(shares), 1, generator=random, dtype=torch.float64)
    point = (torch.arange(number, dtype=torch.float64) + phase) / number
    until = shares.cumsum(1)
    until[until > 1 - 1e-9] = 2.0  # the last region, whatever the sum rounds to
    return torch.searchsorted(until, point.contiguous(), right=True)


def generator(seed: int, *position: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Random generator of a place in the training, unrelated to that of any other place."""
    state = np.random.SeedSequence([seed, *position]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))
