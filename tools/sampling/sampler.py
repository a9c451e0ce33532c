"""RoiPatchSampler: a cohort kept on the device, and training batches cut from it by region."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from tools.core.errors import InputError
from tools.core.flags import is_true
from tools.core.options import options_of
from tools.core.tensors import bounding_box, file_name
from tools.sampling.augment import RandomAffine2d
from tools.sampling.case_regions import RoiSettings, as_volume, case_masks, slice_masks
from tools.sampling.cohort import BankFactory, ResidentCohort, StreamedCohort
from tools.sampling.mix import REGIONS, RoiMix
from tools.sampling.patches import StoredVolume
from tools.sampling.plan import EpochPlan, Planner, generator
from tools.sampling.run_table import RunTable, mask_runs
from tools.sampling.settings import Augmentation, BatchFormat, CohortStorage, ProcessShare, as_dtype, one_of

LOOKAHEAD_BYTES = 128_000_000
"""Patches copied at once on a CPU: more share cache lines; too many fall out of the cache themselves."""


class RoiPatchSampler:
    """Training batches without end, from a cohort that lies on the device.

    An epoch is `patches_per_case` patches of every case, in shuffled order, six times as many if each comes
    under all of its `turns`; every `iter()` starts the next one. In each case the regions of `mix` get their
    share of the patches, exact to one patch; within a region every voxel is equally likely to be a centre.
    Patches and order depend on (seed, epoch) alone: not on the device, nor on where a run was interrupted.

    It is an iterable with a length, for the `train_data_loader` of MONAI's `SupervisedTrainer`, with
    `state_dict` and `load_state_dict` for Ignite's checkpoints.

    Args:
        cohort: cases, each a dictionary with `image` (C, X, Y, Z), `label` (1, X, Y, Z; above 0 is lesion)
            and, optionally, `brain` (1, X, Y, Z) and the regions that `regions` names. Voxel sizes come
            from the affine of MetaTensors. Single slices (C, X, Y) are volumes of one slice.
        roi_size: patch size in voxels. Two sizes make patches (or all) of single slices, any of a volume.
        mix: `RoiMix`, the name of a preset, or shares by region.
        patches_per_case: patches per case and epoch.
        batch_size: patches per batch; the last batch of an epoch may be smaller.
        redraw: draw other patches in every epoch; False: the same ones in another order (Abramova 2021
            extracts its patches before training).
        seed: of everything random.
        device: where the cohort lies and the batches appear.
        whole_slices: every patch is a slice, centred in it, and the regions are sets of slices: `lesion`
            those that show lesion, any other region those that show it and no lesion. Needs two sizes.
        balance: `case`, the mix holds in every case; `cohort`, over the cohort, so that patients, or single
            slices, with and without lesion are balanced.
        background: image value outside the volumes; a margin that has only this value is not kept.
        regions: how the regions are found, see `RoiSettings`.
        augmentation: how patches are changed, see `Augmentation`.
        storage: how the cohort is kept, see `CohortStorage`.
        batch: dtypes, see `BatchFormat`.
        share: what this process draws of every epoch, see `ProcessShare`.
        progress: show a progress bar while the cohort is read.

    Yields:
        {"image": (B, C, *roi_size), "label": (B, 1, *roi_size)}.

    Raises:
        InputError: a case or an argument that cannot be used.

    Example:
        >>> image, label = torch.rand(2, 64, 64, 20), torch.rand(1, 64, 64, 20) > 0.99
        >>> sampler = RoiPatchSampler([{"image": image, "label": label}], (32, 32, 16), "brain", 8, 4)
        >>> len(sampler), next(iter(sampler))["image"].shape
        (2, torch.Size([4, 2, 32, 32, 16]))
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
        whole_slices: bool = False,
        balance: str = "case",
        redraw: bool | str = True,
        background: float = 0.0,
        regions: RoiSettings | Mapping[str, Any] | None = None,
        augmentation: Augmentation | Mapping[str, Any] | None = None,
        storage: CohortStorage | Mapping[str, Any] | None = None,
        batch: BatchFormat | Mapping[str, str] | None = None,
        share: ProcessShare | Mapping[str, int] | None = None,
        progress: bool = True,
    ) -> None:
        self.mix, self.regions = RoiMix.of(mix), options_of(RoiSettings, regions)
        self.augmentation = options_of(Augmentation, augmentation)
        self.storage = options_of(CohortStorage, storage)
        self.batch, self.share = options_of(BatchFormat, batch), options_of(ProcessShare, share)
        self.is_flat = len(roi_size) == 2
        self.roi_size = _three_sizes(roi_size, self.augmentation)
        one_of("balance", balance, ("case", "cohort"))
        if len(cohort) == 0:
            raise InputError("cohort: expected at least one case, found none")
        if min(patches_per_case, batch_size) < 1:
            raise InputError(
                f"patches_per_case, batch_size: expected 1 or more, found {patches_per_case}, {batch_size}"
            )
        if whole_slices and not self.is_flat:
            raise InputError(f"whole_slices: expected a roi_size of two sizes, found {list(roi_size)}")
        self.batch_size, self.seed = batch_size, seed
        self.settings = {  # of what is drawn, see `tools.engine.checkpoint.HasSettings`
            "roi_size": list(roi_size),
            "mix": asdict(self.mix),
            "patches_per_case": patches_per_case,
            "batch_size": batch_size,
            "whole_slices": whole_slices,
            "balance": balance,
            "redraw": is_true(redraw, "redraw"),
            "regions": asdict(self.regions),
            "augmentation": asdict(self.augmentation),
        }
        self.device = torch.device(device)
        self.background = background
        self._whole_slices = whole_slices

        volumes, runs = [], []
        for index in tqdm(range(len(cohort)), desc="cohort", unit="case", disable=not progress):
            volume, masks = self.read_case(cohort[index], index)
            volumes.append(volume)
            runs.append([mask_runs(mask) for mask in masks])
        channels = sorted({volume.image.shape[0] for volume in volumes})
        if len(channels) > 1:
            raise InputError(f"cohort: expected the same number of channels in every case, found {channels}")

        make = BankFactory(self.roi_size, background, self.device, self.storage.gather, self.storage.threads)
        self._buffers = make.buffers
        room = None if self.storage.budget_gb is None else int(self.storage.budget_gb * 1e9)
        if room is None or sum(volume.nbytes for volume in volumes) <= room:
            self._memory: ResidentCohort | StreamedCohort = ResidentCohort(volumes, make)
        else:
            self._memory = StreamedCohort(volumes, make, room)
            if balance == "cohort":
                raise InputError("balance: expected `case` for a streamed cohort, found `cohort`")
        self._offset = torch.tensor([volume.offset for volume in volumes], device=self.device)
        shapes = torch.tensor([volume.shape for volume in volumes], device=self.device)
        self._planner = Planner(
            RunTable(runs, self.device), shapes, self.mix, patches_per_case, self.augmentation.turns, balance,
            self._memory.chunk, is_true(redraw, "redraw"), self.share.rank, self.share.world_size,
        )  # fmt: skip
        _ = self._planner.shares  # logged, and an unusable case found, before training starts
        patch_bytes = math.prod(self.roi_size) * (channels[0] * as_dtype(self.storage.dtype).itemsize + 1)
        blocks = self.device.type == "cpu" and self.storage.gather != "vectorised"
        self._lookahead = max(1, LOOKAHEAD_BYTES // (patch_bytes * batch_size)) if blocks else 1
        self._position = (-1, 0)
        self._resume: tuple[int, int] | None = None

    @property
    def device_bytes(self) -> int:
        """Bytes that the cohort and its regions take on the device."""
        return self._memory.device_bytes + self._planner.table.nbytes()

    def __len__(self) -> int:
        """Batches per epoch of this process."""
        return sum(-(-size // self.batch_size) for size in self._planner.sizes())

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        epoch, batch = self._resume or (self._position[0] + 1, 0)
        self._resume = None
        self._position = (epoch, batch)
        return self._batches(epoch, batch)

    def state_dict(self) -> dict[str, int]:
        """Seed, epoch, and how many of its batches were given out."""
        epoch, batch = self._resume or self._position
        if epoch < 0 or batch >= len(self):
            epoch, batch = epoch + 1, 0
        return {"seed": self.seed, "epoch": epoch, "batch": batch}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next `iter()` go on where `state_dict` was taken."""
        self.seed = int(state["seed"])
        self._resume = (int(state["epoch"]), int(state["batch"]))

    def plan(self, epoch: int) -> EpochPlan:
        """What this process draws in an epoch, in order."""
        return self._planner.draw(self.seed, epoch)

    def _batches(self, epoch: int, first: int) -> Iterator[dict[str, Tensor]]:
        plan = self.plan(epoch)
        half = torch.tensor([size // 2 for size in self.roi_size], device=self.device)
        corner = plan.centre - half - self._offset[plan.case]
        parts = self._remaining(plan, first)
        banks = self._memory.banks([chunk for chunk, _, _ in parts])
        for (chunk, rows, number), bank in zip(parts, banks, strict=True):
            place = torch.empty(len(self._offset), dtype=torch.int64)
            place[chunk] = torch.arange(len(chunk))
            place = place.to(self.device)
            step = self.batch_size * self._lookahead
            for start in range(rows.start, rows.stop, step):
                block = slice(start, min(rows.stop, start + step))
                images, labels = bank.gather(place[plan.case[block]], corner[block], plan.op[block])
                batches = zip(images.split(self.batch_size), labels.split(self.batch_size), strict=True)
                for image, label in batches:
                    number += 1
                    self._position = (epoch, number)
                    yield self._finished(image, label, epoch, number)
            del bank  # so that its memory is free before the next chunk but one is copied

    def _remaining(self, plan: EpochPlan, first: int) -> list[tuple[list[int], slice, int]]:
        """What is left from batch `first` on: per chunk its cases, rows of the plan, batches before."""
        parts, row, number = [], 0, 0
        for chunk, size in zip(plan.chunks, plan.sizes, strict=True):
            batches = -(-size // self.batch_size)
            skip = min(batches, max(0, first - number))
            if skip < batches:
                parts.append((chunk, slice(row + skip * self.batch_size, row + size), number + skip))
            row, number = row + size, number + batches
        return parts

    def _finished(self, image: Tensor, label: Tensor, epoch: int, number: int) -> dict[str, Tensor]:
        """A batch in the shape and dtypes that were asked for, augmented."""
        form, affine = self.batch, self.augmentation.affine
        if self.is_flat:
            image, label = image[..., 0], label[..., 0]
        image = self._converted(image, as_dtype(form.image_dtype))
        label = self._converted(label, as_dtype(form.label_dtype))
        if isinstance(affine, RandomAffine2d):
            random = generator(self.seed, epoch, number, self.share.rank, device=self.device)
            image, label = affine(image, label, random)
        return {"image": image, "label": label}

    def _converted(self, batch: Tensor, dtype: torch.dtype) -> Tensor:
        """The batch in another dtype; on a CPU in memory that is used again once the batch is dropped."""
        if batch.dtype == dtype or self.device.type != "cpu":
            return batch.to(dtype)
        return self._buffers.take(batch.shape, dtype).copy_(batch)

    def read_case(self, item: Mapping[str, Any], index: int) -> tuple[StoredVolume, list[Tensor]]:
        """Case number `index` as it is kept, and the masks of its regions in the order of `REGIONS`."""
        name = file_name(item.get("image"), f"case {index}")
        masks = case_masks(item, name, self.mix, self.regions, self.background)
        image, lesion = as_volume(item["image"]), masks[REGIONS.index("lesion")]
        dtype = as_dtype(self.storage.dtype)
        box = bounding_box((image != self.background).any(0) | lesion) or (slice(0, 1),) * 3
        kept = image[(slice(None), *box)]
        kept = kept if dtype.is_floating_point else kept.round()
        volume = StoredVolume(
            torch.empty(kept.shape, dtype=dtype).copy_(kept),
            torch.empty(kept.shape[1:], dtype=torch.uint8).copy_(as_volume(item["label"])[0][box]),
            tuple(image.shape[1:]),
            tuple(span.start for span in box),
        )
        return volume, slice_masks(masks) if self._whole_slices else masks


def _three_sizes(roi_size: Sequence[int], augmentation: Augmentation) -> tuple[int, int, int]:
    """The patch size, with 1 as the third where two were given."""
    sizes = tuple(int(size) for size in roi_size)
    if len(sizes) not in (2, 3) or min(sizes) < 1:
        raise InputError(f"roi_size: expected two or three sizes from 1, found {list(roi_size)}")
    if augmentation.turns != "none" and sizes[0] != sizes[1]:
        raise InputError(
            f"roi_size: expected square patches for turns {augmentation.turns!r}, found {list(roi_size)}"
        )
    if augmentation.affine is not None and len(sizes) == 3:
        raise InputError(f"affine: expected a roi_size of two sizes, found {list(roi_size)}")
    return (*sizes, 1)[:3]  # type: ignore[return-value]
