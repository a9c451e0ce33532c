"""Synthetic heads as training cases: case n of an endless mixture, ready for a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tools.core.errors import InputError
from tools.phantom.head import HeadPhantom
from tools.phantom.kinds import CLASSES, lesion_types

__all__ = ["PhantomCases"]


class PhantomCases:
    """Case n of an endless mixture of synthetic heads.

    Each case is determined by (seed, n). Cases come in blocks of `per_person` with the same source; where
    that is a folder of label maps, they show the same person: a further pose, bleed and scan costs less than
    a further person.

    Args:
        sources: what heads are made of, each a mapping of arguments of `HeadPhantom` (such as `anatomy`,
            `appearance`, `kind`, `shape`, `spacing`) and `share`, its part of the mixture (1 if not given).
            A list of `kind`s, `shape`s or `spacing`s is drawn from case by case.
        transform: what makes a dictionary with `image` (1, X, Y, Z) HU and `label` (1, X, Y, Z) into what the
            network sees; None leaves it.
        lesion: `types` keeps the five class values in `label`; else the types that make up a binary label,
            separated by commas, or `any`.
        seed: of everything random.
        per_person: cases in a row that show the same person.
        device: where cases are made.
        with_brain: also give the key `brain` (1, X, Y, Z) to the transform.

    Raises:
        InputError: no source, a share that is not positive, an unknown type; and what `HeadPhantom` refuses.

    Example:
        >>> small = {"shape": (64, 64, 16), "spacing": (3.6, 3.6, 10.0)}
        >>> PhantomCases([small], seed=2)(0)["label"].shape
        torch.Size([1, 64, 64, 16])
    """

    def __init__(
        self,
        sources: Sequence[Mapping[str, Any]],
        transform: Callable[[dict[str, Any]], Mapping[str, Any]] | None = None,
        lesion: str = "types",
        seed: int = 0,
        per_person: int = 4,
        device: torch.device | str = "cpu",
        with_brain: bool = False,
    ) -> None:
        self.sources = [dict(source) for source in sources]
        if not self.sources:
            raise InputError("sources: expected at least one, found none")
        shares = [float(source.pop("share", 1.0)) for source in self.sources]
        if min(shares) <= 0:
            raise InputError(f"sources: expected shares above 0, found {shares}")
        self.shares = [share / sum(shares) for share in shares]
        self.with_brain = with_brain
        self.transform, self.seed, self.per_person, self.device = (
            transform,
            int(seed),
            int(per_person),
            device,
        )
        if self.per_person < 1:
            raise InputError(f"per_person: expected 1 or more, found {per_person}")
        names = tuple(CLASSES) if lesion == "any" else tuple(part.strip() for part in lesion.split(","))
        self.lesion = None if lesion == "types" else lesion_types("any", names)
        for source in range(len(self.sources)):
            self._head(source, 0)  # unusable arguments are named before training starts

    @property
    def fingerprint(self) -> str:
        """All that determines the cases but the transform, as text: another one means other images."""
        return repr([self.sources, self.shares, self.seed, self.per_person, self.lesion])

    def __call__(self, index: int) -> dict[str, Any]:
        """Case number `index`: the keys of the transform's result, and `case`, its name."""
        source = self.source_of(index)
        case = self._head(source, index).render()
        label = case.classes if self.lesion is None else case.label(self.lesion)
        item: dict[str, Any] = {"image": case.image, "label": label}
        if self.with_brain:
            item["brain"] = case.brain
        item = dict(item if self.transform is None else self.transform(item))
        return {**item, "case": f"synthetic_{index:06d}"}

    def source_of(self, index: int) -> int:
        """Which of the sources case `index` is made of; the same for all cases of a block."""
        block = np.random.default_rng([self.seed, index // self.per_person, 7])
        return int(block.choice(len(self.shares), p=self.shares))

    def _head(self, source: int, index: int) -> HeadPhantom:
        options = dict(self.sources[source])
        random = np.random.default_rng([self.seed, index, 8])
        for name, plain in (("kind", str), ("shape", int), ("spacing", float)):
            given = options.get(name)
            if isinstance(given, Sequence) and not isinstance(given, str):
                several = plain is str or not isinstance(given[0], plain | int)
                if several:
                    options[name] = given[int(random.integers(len(given)))]
        if options.get("anatomy", "procedural") != "procedural":
            options.setdefault("per_person", self.per_person)
        return HeadPhantom(self.seed, index, device=self.device, **options)
