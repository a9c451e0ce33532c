"""RenewedSampler: training batches of cases that are made while training runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from tqdm import tqdm

from tools.core.errors import InputError
from tools.sampling.sampler import RoiPatchSampler


class RenewedSampler:
    """`RoiPatchSampler` on a pool of cases of which some are replaced by new ones before every epoch.

    Epoch e draws from cases number `e * renewed` to `e * renewed + pool - 1`, so that no case is seen more
    than `pool / renewed` times. What an epoch gives depends on the cases, the seed and its number alone.

    Args:
        cases: makes case number n, a dictionary as `RoiPatchSampler` takes it; such as `PhantomCases`.
        pool: cases that an epoch draws from.
        renewed: how many of them are new in the next epoch, from 1 to `pool`.
        always: further cases, from which every epoch draws: such as a few real ones.
        progress: show a progress bar while cases are made.
        options: further arguments of `RoiPatchSampler`: `roi_size`, `mix`, `patches_per_case` ...

    Raises:
        InputError: numbers that cannot be; and what `RoiPatchSampler` refuses.
    """

    def __init__(
        self, cases: Callable[[int], Mapping[str, Any]], pool: int = 16, renewed: int = 4,
        progress: bool = True, always: Sequence[Mapping[str, Any]] = (), **options: Any,
    ) -> None:  # fmt: skip
        if not 1 <= renewed <= pool:
            raise InputError(f"renewed: expected from 1 to {pool}, the cases of an epoch, found {renewed}")
        self.cases, self.pool, self.renewed = cases, pool, renewed
        self.progress, self.options = progress, options
        self._always = [always[index] for index in range(len(always))]
        self._kept: dict[int, Mapping[str, Any]] = {}
        self._resume: dict[str, int] | None = None
        self._given = -1  # the epoch that was given out last
        self._sampler, self._made = self._of_epoch(0), 0
        self.settings = {"pool": pool, "renewed": renewed, **self._sampler.settings}

    def __len__(self) -> int:
        """Batches per epoch of this process."""
        return len(self._sampler)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        state = self._resume or {"seed": self._sampler.seed, "epoch": self._given + 1, "batch": 0}
        self._resume = None
        if state["epoch"] != self._made:
            self._sampler, self._made = self._of_epoch(state["epoch"]), state["epoch"]
        self._given = state["epoch"]
        self._sampler.load_state_dict(state)
        return iter(self._sampler)

    def state_dict(self) -> dict[str, int]:
        """Seed, epoch, and how many of its batches were given out."""
        return dict(self._resume or self._sampler.state_dict())

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next `iter()` go on where `state_dict` was taken."""
        self._resume = {name: int(state[name]) for name in ("seed", "epoch", "batch")}

    def _of_epoch(self, epoch: int) -> RoiPatchSampler:
        wanted = range(epoch * self.renewed, epoch * self.renewed + self.pool)
        self._kept = {index: item for index, item in self._kept.items() if index in wanted}
        new = [index for index in wanted if index not in self._kept]
        for index in tqdm(new, desc="new heads", unit="case", disable=not self.progress, leave=False):
            self._kept[index] = self.cases(index)
        return RoiPatchSampler(
            [*(self._kept[index] for index in wanted), *self._always], progress=False, **self.options
        )
