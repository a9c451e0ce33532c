"""Synthetic heads as training cases: case n of an endless mixture, ready for a network."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from tools.core.errors import InputError
from tools.core.files import replacing
from tools.core.flags import is_true
from tools.core.options import options_of
from tools.core.tensors import voxel_spacing
from tools.phantom.case import binary_label
from tools.phantom.head import PHANTOM_VERSION, HeadPhantom
from tools.phantom.kinds import CLASSES, lesion_types
from tools.phantom.outline import outlined
from tools.phantom.variation import ScanVariation

logger = logging.getLogger(__name__)

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
        variation: how the scan of each case is changed, see `ScanVariation`; None leaves it.
        heads_dir: folder in which rendered heads are kept, 6 MB each for 256x256x32, so that another training
            on the same sources and seed, whatever its network, begins with them; None keeps none.
        as_outlined: keep of the label what can be seen in the scan, see `outlined`; the truth goes on below
            what bone is blurred into, and holds blood that looks like brain.
        heads: after so many cases the same heads come again, each varied otherwise; None makes new ones.

    Raises:
        InputError: no source, a share that is not positive, an unknown type; and what `HeadPhantom` and
            `ScanVariation` refuse.

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
        variation: ScanVariation | Mapping[str, Any] | None = None,
        heads_dir: str | Path | None = None,
        as_outlined: bool | str = False,
        heads: int | None = None,
    ) -> None:
        self.sources = [dict(source) for source in sources]
        if not self.sources:
            raise InputError("sources: expected at least one, found none")
        shares = [float(source.pop("share", 1.0)) for source in self.sources]
        if min(shares) <= 0:
            raise InputError(f"sources: expected shares above 0, found {shares}")
        self.shares = [share / sum(shares) for share in shares]
        self.with_brain = with_brain
        self.as_outlined = is_true(as_outlined, "as_outlined")
        self.variation = None if variation is None else options_of(ScanVariation, variation)
        self.transform, self.seed, self.per_person, self.device = (
            transform,
            int(seed),
            int(per_person),
            device,
        )
        self.heads = None if heads is None else int(heads)
        for option, number in (("per_person", self.per_person), ("heads", self.heads)):
            if number is not None and number < 1:
                raise InputError(f"{option}: expected 1 or more, found {number}")
        names = tuple(CLASSES) if lesion == "any" else tuple(part.strip() for part in lesion.split(","))
        self.lesion = None if lesion == "types" else lesion_types("any", names)
        for source in range(len(self.sources)):
            self._head(source, 0)  # unusable arguments are named before training starts
        heads = repr([PHANTOM_VERSION, self.sources, self.shares, self.seed, self.per_person])
        name = hashlib.blake2b(heads.encode(), digest_size=8).hexdigest()
        self.heads_dir = None if heads_dir is None else Path(heads_dir) / name

    @property
    def fingerprint(self) -> str:
        """All that determines the cases but the transform, as text: another one means other images."""
        made = [self.sources, self.shares, self.seed, self.per_person, self.heads]
        return repr([*made, self.lesion, self.variation, self.as_outlined])

    def __call__(self, index: int) -> dict[str, Any]:
        """Case number `index`: the keys of the transform's result, and `case`, its name."""
        head = index if self.heads is None else index % self.heads
        image, classes, brain = self._kept(head) or self._rendered(head)
        if self.variation is not None:
            random = np.random.default_rng([self.seed, index, 9])
            changed = self.variation(image.as_tensor(), classes.as_tensor(), random)
            image = MetaTensor(changed, affine=image.affine)
        if self.as_outlined:
            x, y, _ = voxel_spacing(image.affine)
            seen = outlined(classes.as_tensor(), image.as_tensor(), brain.as_tensor(), (x, y))
            classes = MetaTensor(seen, affine=image.affine)
        label = classes if self.lesion is None else binary_label(classes, self.lesion)
        item: dict[str, Any] = {"image": image, "label": label}
        if self.with_brain:
            item["brain"] = brain
        item = dict(item if self.transform is None else self.transform(item))
        return {**item, "case": f"synthetic_{index:06d}"}

    def _rendered(self, index: int) -> tuple[MetaTensor, MetaTensor, MetaTensor]:
        case = self._head(self.source_of(index), index).render()
        volumes = case.image, case.classes, case.brain
        if self.heads_dir is not None:
            self.heads_dir.mkdir(parents=True, exist_ok=True)
            kept: list[Any] = [volume.as_tensor().cpu() for volume in volumes]
            kept[0] = kept[0].to(torch.int16)  # whole numbers
            with replacing(self._file(index)) as partial:
                torch.save([*kept, case.affine.cpu()], partial)
        return volumes

    def _kept(self, index: int) -> tuple[MetaTensor, MetaTensor, MetaTensor] | None:
        """Image, classes and brain of a head rendered before; None if there is none that is whole."""
        if self.heads_dir is None or not self._file(index).is_file():
            return None
        try:
            *volumes, affine = torch.load(self._file(index), map_location=self.device, weights_only=True)
            volumes[0] = volumes[0].float()
            image, classes, brain = (MetaTensor(volume, affine=affine) for volume in volumes)
        except Exception as error:  # torch, zip and pickle each raise their own
            logger.warning("%s: expected a kept head, found a damaged file (%s)", self._file(index), error)
            return None
        return image, classes, brain

    def _file(self, index: int) -> Path:
        assert self.heads_dir is not None
        return self.heads_dir / f"head_{index:06d}.pt"

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
