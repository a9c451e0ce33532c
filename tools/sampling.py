"""RoiPatchSampler: a cohort kept on the device, and training batches cut from it by region."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from tools.errors import InputError
from tools.mix import REGIONS, RoiMix
from tools.patches import SYMMETRIES, GatherBank, SliceBank, StoredVolume
from tools.roi import bounding_box
from tools.roi_case import RoiSettings, case_masks, case_name, plain
from tools.runs import RunTable, mask_runs

logger = logging.getLogger(__name__)

_AUGMENT = {"none": 1, "x6": len(SYMMETRIES), "random": 1}


class RoiPatchSampler:
    """Endless supply of training batches from a cohort that lies on the device.

    An epoch is `patches_per_case` patches of every case in shuffled order (six times as many with
    `augment="x6"`). In each case the regions of `mix` get their share of the patches, exact to one patch;
    within a region every voxel is equally likely to be a centre. Every `iter()` starts the next epoch. The
    order and the patches depend on (seed, epoch) alone: not on the device, nor on where a run was
    interrupted.

    It is an iterable with a length, so it can be the `train_data_loader` of MONAI's `SupervisedTrainer`, and
    it has `state_dict` and `load_state_dict` for Ignite's checkpoints.

    Args:
        cohort: cases, each a dictionary with `image` (C, X, Y, Z), `label` (1, X, Y, Z; above 0 is lesion)
            and, optionally, `brain` (1, X, Y, Z) and the regions that `regions` names. Voxel sizes come from
            MetaTensors.
        roi_size: patch size in voxels.
        mix: `RoiMix`, the name of a preset, or shares by region.
        patches_per_case: patches per case and epoch.
        batch_size: patches per batch; the last batch of an epoch may be smaller.
        seed: of everything random.
        device: where the cohort lies and the batches appear.
        augment: `none`; `x6`, every patch once under each of `SYMMETRIES`; `random`, each under one of them.
        storage_dtype: dtype that images are kept in: float16, bfloat16, int16 or float32.
        output_dtype: dtype of `image` in the batches.
        label_dtype: dtype of `label` in the batches.
        background: image value outside the volumes. A margin of a volume that has only this value is not
            kept.
        regions: how the regions are found, see `RoiSettings`.
        image_key, label_key: keys of the cases and of the batches.
        gather: `slices`, `vectorised`, or `auto`: slices on a CPU, vectorised elsewhere.
        rank, world_size: this process draws every `world_size`-th patch of the same epoch, from the `rank`-th
        on.
        progress: show a progress bar while the cohort is read.

    Yields:
        {"image": (B, C, *roi_size), "label": (B, 1, *roi_size)}.

    Raises:
        InputError: a case or an argument that cannot be used.
    """

    def __init__(
        self,
        cohort: Sequence[Mapping[str, Any]],
        roi_size: Sequence[int],
        mix: RoiMix | str | Mapping[str, float] = "border_or_ivh",
        patches_per_case: int = 3000,
        batch_size: int = 32,
        seed: int = 0,
        device: torch.device | str = "cpu",
        *,
        augment: str = "none",
        storage_dtype: str | torch.dtype = "float16",
        output_dtype: str | torch.dtype = "float32",
        label_dtype: str | torch.dtype = "float32",
        background: float = 0.0,
        regions: RoiSettings | Mapping[str, Any] | None = None,
        image_key: str = "image",
        label_key: str = "label",
        gather: str = "auto",
        rank: int = 0,
        world_size: int = 1,
        progress: bool = True,
    ) -> None:
        if augment not in _AUGMENT:
            raise InputError(
                f"RoiPatchSampler: augment should be one of {', '.join(_AUGMENT)}, got '{augment}'"
            )
        if not 0 <= rank < world_size:
            raise InputError(f"RoiPatchSampler: rank should be from 0 to {world_size - 1}, got {rank}")
        if len(cohort) == 0:
            raise InputError("RoiPatchSampler: the cohort should have at least one case, got none")
        self.roi_size = tuple(int(size) for size in roi_size)
        if augment != "none" and self.roi_size[0] != self.roi_size[1]:
            raise InputError(
                f"RoiPatchSampler: augment '{augment}' needs square patches, got {self.roi_size}"
            )
        self.mix = RoiMix.of(mix)
        self.patches_per_case, self.batch_size, self.seed = patches_per_case, batch_size, seed
        self.device = torch.device(device)
        self.augment = augment
        self.output_dtype, self.label_dtype = _dtype(output_dtype), _dtype(label_dtype)
        self.background = background
        self.rank, self.world_size = rank, world_size
        self.image_key, self.label_key = image_key, label_key
        settings = RoiSettings.of(regions)

        volumes, runs = [], []
        for index in tqdm(range(len(cohort)), desc="cohort", disable=not progress):
            volume, masks = self._read(cohort[index], index, settings, _dtype(storage_dtype))
            volumes.append(volume)
            runs.append([mask_runs(mask) for mask in masks])
        self._table = RunTable(runs, self.device)
        self._shares = self.mix.resolve(self._table.counts)
        self._shape = torch.tensor([volume.shape for volume in volumes], device=self.device)
        self._offset = torch.tensor([volume.offset for volume in volumes], device=self.device)
        if gather == "auto":
            gather = "slices" if self.device.type == "cpu" else "vectorised"
        if gather == "slices":
            self._bank: SliceBank | GatherBank = SliceBank(volumes, self.roi_size, background)
        else:
            self._bank = GatherBank(volumes, self.roi_size, background, self.device)
        self.nbytes = sum(volume.nbytes for volume in volumes) + self._table.nbytes()
        """Bytes that the cohort takes on the device."""
        self._position = (-1, 0)
        self._resume: tuple[int, int] | None = None

    def __len__(self) -> int:
        """Batches per epoch of this process."""
        return -(-self._patches() // self.batch_size)

    def _patches(self) -> int:
        total = len(self._shape) * self.patches_per_case * _AUGMENT[self.augment]
        return total // self.world_size

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        epoch, batch = self._resume or (self._position[0] + 1, 0)
        self._resume = None
        self._position = (epoch, batch)
        return self._batches(epoch, batch)

    def set_epoch(self, epoch: int) -> None:
        """Let the next `iter()` start at `epoch`, counted from 0."""
        self._resume = (epoch, 0)

    def state_dict(self) -> dict[str, int]:
        """Seed, epoch and the number of its batches that were given out."""
        epoch, batch = self._resume or self._position
        if batch >= len(self):
            epoch, batch = epoch + 1, 0
        return {"seed": self.seed, "epoch": epoch, "batch": batch}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next `iter()` go on where `state_dict` was taken."""
        self.seed = int(state["seed"])
        self._resume = (max(0, int(state["epoch"])), int(state["batch"]))

    def plan(self, epoch: int) -> dict[str, Tensor]:
        """What an epoch draws in this process, in order; every entry has one row per patch.

        `case` (N,), `region` (N,) index into `REGIONS`, `centre` (N, 3) voxel in the whole volume, `op` (N,)
        index into `SYMMETRIES`; all int64 on the device.
        """
        # Random numbers come from the CPU, so that every device draws the same patches; one copy per epoch.
        random = torch.Generator().manual_seed(_mixed(self.seed, epoch))
        cases, each = len(self._shape), self.patches_per_case
        case = torch.arange(cases).repeat_interleave(each)
        phase = torch.rand(cases, generator=random, dtype=torch.float64)
        place = (torch.arange(each).repeat(cases) + phase[case]) / each
        until = self._shares.cumsum(1)
        until[until > 1 - 1e-9] = 2.0  # the last region of a case, whatever the sum rounds to
        region = (place[:, None] >= until[case]).sum(1)
        chance = torch.rand(len(case), generator=random, dtype=torch.float64)
        copies = _AUGMENT[self.augment]
        order = torch.randperm(len(case) * copies, generator=random)[self.rank :: self.world_size][
            : self._patches()
        ]
        if self.augment == "random":
            op = torch.randint(len(SYMMETRIES), (len(case),), generator=random)[order]
        else:
            op = order // len(case)
        order = order % len(case)
        case, region, chance, op = (
            t.to(self.device) for t in (case[order], region[order], chance[order], op)
        )
        flat = self._table.draw(case, region, chance)
        shape = self._shape[case]
        x, y = flat // (shape[:, 1] * shape[:, 2]), flat // shape[:, 2] % shape[:, 1]
        centre = torch.stack([x, y, flat % shape[:, 2]], dim=1)
        return {"case": case, "region": region, "centre": centre, "op": op}

    def _batches(self, epoch: int, first: int) -> Iterator[dict[str, Tensor]]:
        plan = self.plan(epoch)
        half = torch.tensor([size // 2 for size in self.roi_size], device=self.device)
        corner = plan["centre"] - half - self._offset[plan["case"]]
        for batch in range(first, len(self)):
            rows = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            images, labels = self._bank.gather(plan["case"][rows], corner[rows], plan["op"][rows])
            self._position = (epoch, batch + 1)
            yield {self.image_key: images.to(self.output_dtype), self.label_key: labels.to(self.label_dtype)}

    def _read(
        self, item: Mapping[str, Any], index: int, settings: RoiSettings, dtype: torch.dtype
    ) -> tuple[StoredVolume, list[Tensor]]:
        """A case as it is kept, and the masks of its regions in the order of `REGIONS`."""
        name = case_name(item, index, self.image_key)
        masks = case_masks(item, name, self.mix, settings, self.background, self.image_key, self.label_key)
        image, lesion = plain(item[self.image_key]), masks[REGIONS.index("lesion")]
        box = bounding_box((image != self.background).any(0) | lesion) or (slice(0, 1),) * 3
        cut = image[(slice(None), *box)]
        cut = cut.round() if not dtype.is_floating_point else cut
        stored = StoredVolume(
            cut.to("cpu", dtype, copy=True).contiguous(),
            lesion[box].to("cpu", torch.uint8).contiguous(),
            tuple(image.shape[1:]),
            tuple(span.start for span in box),
        )
        return stored, masks


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype):
        raise InputError(f"RoiPatchSampler: dtype should name a torch dtype, got {dtype!r}")
    return found


def _mixed(seed: int, epoch: int) -> int:
    """One 64-bit seed from two numbers, so that (0, 1) and (1, 0) share nothing."""
    import numpy as np

    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
