"""What `RoiPatchSampler` is told, in groups that belong together; configurations give them as mappings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tools.core.errors import InputError
from tools.core.options import options_of
from tools.sampling.augment import RandomAffine2d
from tools.sampling.plan import TURNS

GATHER = ("auto", "slices", "vectorised")


@dataclass(frozen=True)
class Augmentation:
    """How patches are changed.

    Args:
        turns: `none`; `x6`, every patch once under each of `tools.sampling.patches.SYMMETRIES`; `random`,
            under one of them. Needs square patches.
        affine: `RandomAffine2d` or its arguments; None for none. Needs patches of single slices.
    """

    turns: str = "none"
    affine: RandomAffine2d | Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        one_of("turns", self.turns, tuple(TURNS))
        if self.affine is not None:
            object.__setattr__(self, "affine", options_of(RandomAffine2d, self.affine))


@dataclass(frozen=True)
class CohortStorage:
    """How the cohort is kept while it is sampled.

    Args:
        dtype: of the images: float16, bfloat16, int16 (rounded) or float32.
        budget_gb: room on the device, in 10^9 bytes; None for all of it. A larger cohort stays in host
            memory: random groups of cases take turns, and the next is copied while one is sampled.
        gather: `slices`, `vectorised`, or `auto`: slices on a CPU, vectorised elsewhere.
        threads: threads that copy patches on a CPU; None for as many as torch uses, at most 4.
    """

    dtype: str | torch.dtype = "float16"
    budget_gb: float | None = None
    gather: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        one_of("gather", self.gather, GATHER)
        object.__setattr__(self, "dtype", as_dtype(self.dtype))


@dataclass(frozen=True)
class BatchFormat:
    """The dtypes of the batches."""

    image_dtype: str | torch.dtype = "float32"
    label_dtype: str | torch.dtype = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_dtype", as_dtype(self.image_dtype))
        object.__setattr__(self, "label_dtype", as_dtype(self.label_dtype))


@dataclass(frozen=True)
class ProcessShare:
    """The part of every epoch that one process draws: each `world_size`-th patch, from the `rank`-th on."""

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise InputError(f"rank: expected a number from 0 to {self.world_size - 1}, found {self.rank}")


def one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Raise `InputError` for a value that is not allowed."""
    if value not in allowed:
        raise InputError(f"{name}: expected one of {', '.join(map(str, allowed))}, found {value!r}")


def as_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """A torch dtype, by itself or by its name."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype):
        raise InputError(f"dtype: expected the name of a torch dtype such as float16, found {dtype!r}")
    return found
