"""An endless data set: cases made on the fly, on the training device, that never repeat."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from tools.phantom.head import HeadPhantom
from tools.phantom.kinds import check_kind, lesion_types


class PhantomStream(IterableDataset):
    """Cases number `start`, `start` + 1, ... of a seed, without end.

    Each item is a dictionary of MetaTensors `image` (1, X, Y, Z) float32 HU, `label`, `brain` uint8
    and `classes`; case n is what `write_phantoms` would write as case n with the same arguments. Workers of a
    DataLoader share the numbers out among themselves, in groups of `per_person`.

    Args:
        seed: seed of the whole stream.
        kind: see `tools.phantom.kinds`.
        lesion: types that make up `label`; None takes the kind's own rule.
        start: number of the first case.
        device: where the cases are made and stay.
        options: further arguments of `HeadPhantom`, such as `shape` and `spacing`.

    Raises:
        InputError: unknown kind or lesion.

    Example:
        >>> stream = PhantomStream(seed=1, kind="any", shape=(64, 64, 16), spacing=(3.6, 3.6, 10.0))
        >>> next(iter(stream))["image"].shape
        torch.Size([1, 64, 64, 16])
    """

    def __init__(
        self,
        seed: int = 0,
        kind: str = "any",
        lesion: str | Sequence[str] | None = None,
        start: int = 0,
        device: torch.device | str = "cpu",
        **options: Any,
    ) -> None:
        self.seed, self.kind, self.start, self.device, self.options = (
            seed,
            check_kind(kind),
            start,
            device,
            options,
        )
        self.lesion = lesion_types(kind, lesion)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        group = int(self.options.get("per_person", 1))
        groups = itertools.count(first, step)
        for index in (self.start + group * i + n for i in groups for n in range(group)):
            case = HeadPhantom(
                self.seed, index=index, kind=self.kind, device=self.device, **self.options
            ).render()
            yield {
                "image": case.image,
                "label": case.label(self.lesion),
                "brain": case.brain,
                "classes": case.classes,
            }
