"""RoiPatchSampler: a cohort kept on the device, and training batches cut from it by region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from tools.cohort_memory import BankFactory, MappedFiles, ResidentCohort, StreamedCohort
from tools.epoch_plan import AUGMENT, EpochPlan, Planner, generator
from tools.errors import InputError
from tools.intensity_noise import IntensityNoise
from tools.mix import REGIONS, RoiMix
from tools.patches import StoredVolume
from tools.roi import bounding_box
from tools.roi_case import RoiSettings, case_masks, case_name, plain, slice_masks
from tools.runs import RunTable, mask_runs
from tools.slice_augment import RandomAffine2d

LOOKAHEAD_BYTES = 128_000_000
"""Patches copied at once on a CPU: more share cache lines; too many fall out of the cache themselves."""


class RoiPatchSampler:
    """Training batches without end, from a cohort that lies on the device.

    An epoch is `patches_per_case` patches of every case, in shuffled order (six times as many with
    `augment="x6"`). In each case the regions of `mix` get their share of the patches, exact to one patch;
    within a region every voxel is equally likely to be a centre. Every `iter()` starts the next epoch. The
    patches and their order depend on (seed, epoch) alone: not on the device, nor on where a run was
    interrupted.

    It is an iterable with a length, so it can be the `train_data_loader` of MONAI's `SupervisedTrainer`,
    and it has `state_dict` and `load_state_dict` for Ignite's checkpoints.

    Args:
        cohort: cases, each a dictionary with `image` (C, X, Y, Z), `label` (1, X, Y, Z; above 0 is lesion)
            and, optionally, `brain` (1, X, Y, Z) and the regions that `regions` names. Voxel sizes come
            from the affine of MetaTensors. Single slices (C, X, Y) are volumes of one slice.
        roi_size: patch size in voxels, one number per spatial dimension.
        mix: `RoiMix`, the name of a preset, or shares by region.
        patches_per_case: patches per case and epoch.
        batch_size: patches per batch; the last batch of an epoch may be smaller.
        seed: of everything random.
        device: where the cohort lies and the batches appear.
        spatial_dims: 3, or 2 for patches (or whole slices) of single slices, which may have any slice of a
            volume.
        whole_slices: every patch is a slice, centred in it, and the regions are sets of slices: `lesion`
            those that show lesion, any other region those that show it and no lesion. Needs `spatial_dims=2`.
        balance: `case`, the mix holds in every case; `cohort`, it holds over the cohort, so that patients, or
            single slices, with and without lesion are balanced.
        augment: `none`; `x6`, every patch once under each of `tools.patches.SYMMETRIES`; `random`, under one.
        noise: arguments of `IntensityNoise`; None for none.
        affine: arguments of `RandomAffine2d`; None for none. Needs `spatial_dims=2`.
        storage_dtype: dtype that images are kept in: float16, bfloat16, int16 (rounded) or float32.
        output_dtype: dtype of `image` in the batches.
        label_dtype: dtype of `label` in the batches.
        background: image value outside the volumes. A volume's margin that has only this value is not kept.
        regions: how the regions are found, see `RoiSettings`.
        image_key, label_key: keys of the cases and of the batches.
        budget_gb: room on the device, in 10^9 bytes. A larger cohort is kept in host memory and streamed:
            random groups of cases take turns, and the next is copied while one is sampled. None: all on
            the device.
        map_dir: keep the cohort in files under this folder instead of in host memory while it is streamed.
        gather: `slices`, `vectorised`, or `auto`: slices on a CPU, vectorised elsewhere.
        threads: threads that copy patches on a CPU; None for as many as torch uses, at most 4.
        rank, world_size: this process draws every `world_size`-th patch of the epoch, from the `rank`-th on.
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
        spatial_dims: int = 3,
        whole_slices: bool = False,
        balance: str = "case",
        augment: str = "none",
        noise: IntensityNoise | Mapping[str, float] | None = None,
        affine: RandomAffine2d | Mapping[str, float] | None = None,
        storage_dtype: str | torch.dtype = "float16",
        output_dtype: str | torch.dtype = "float32",
        label_dtype: str | torch.dtype = "float32",
        background: float = 0.0,
        regions: RoiSettings | Mapping[str, Any] | None = None,
        image_key: str = "image",
        label_key: str = "label",
        budget_gb: float | None = None,
        map_dir: str | Path | None = None,
        gather: str = "auto",
        threads: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        progress: bool = True,
    ) -> None:
        self.roi_size = _roi_size(roi_size, spatial_dims, augment)
        _one_of("balance", balance, ("case", "cohort"))
        if len(cohort) == 0:
            raise InputError("cohort: expected at least one case, found none")
        if min(patches_per_case, batch_size) < 1:
            raise InputError(
                f"patches_per_case, batch_size: expected 1 or more, found {patches_per_case}, {batch_size}"
            )
        if not 0 <= rank < world_size:
            raise InputError(f"rank: expected a number from 0 to {world_size - 1}, found {rank}")
        if whole_slices and spatial_dims != 2:
            raise InputError(f"whole_slices: expected spatial_dims 2, found {spatial_dims}")
        if affine is not None and spatial_dims != 2:
            raise InputError(f"affine: expected spatial_dims 2, found {spatial_dims}")
        self.mix = RoiMix.of(mix)
        self.batch_size, self.seed, self.rank = batch_size, seed, rank
        self.device = torch.device(device)
        self.image_key, self.label_key = image_key, label_key
        self.background = background
        self._spatial_dims, self._whole_slices = spatial_dims, whole_slices
        self._output_dtype, self._label_dtype = as_dtype(output_dtype), as_dtype(label_dtype)
        if isinstance(noise, Mapping):
            noise = IntensityNoise(**{"background": background, **noise})
        self._noise = noise
        self._affine = RandomAffine2d(**affine) if isinstance(affine, Mapping) else affine

        settings, dtype = RoiSettings.of(regions), as_dtype(storage_dtype)
        files = MappedFiles(map_dir) if map_dir is not None else None
        volumes, runs = [], []
        for index in tqdm(range(len(cohort)), desc="cohort", unit="case", disable=not progress):
            volume, masks = self._read(cohort[index], index, settings, dtype)
            volumes.append(files.keep(volume) if files else volume)
            runs.append([mask_runs(mask) for mask in masks])
        channels = sorted({volume.image.shape[0] for volume in volumes})
        if len(channels) > 1:
            raise InputError(f"cohort: expected the same number of channels in every case, found {channels}")

        make = BankFactory(self.roi_size, background, self.device, gather, threads)
        self._buffers = make.buffers
        room = None if budget_gb is None else int(budget_gb * 1e9)
        if room is None or sum(volume.nbytes for volume in volumes) <= room:
            self._memory: ResidentCohort | StreamedCohort = ResidentCohort(volumes, make)
        else:
            self._memory = StreamedCohort(volumes, make, room)
            self._files = files
            if balance == "cohort":
                raise InputError("balance: expected `case` for a streamed cohort, found `cohort`")
        self._offset = torch.tensor([volume.offset for volume in volumes], device=self.device)
        self._planner = Planner(
            RunTable(runs, self.device),
            torch.tensor([volume.shape for volume in volumes], device=self.device),
            self.mix,
            patches_per_case,
            augment,
            balance,
            self._memory.chunk,
            rank,
            world_size,
        )
        _ = self._planner.shares  # logged, and an unusable case found, before training starts
        patch_bytes = (
            self.roi_size[0] * self.roi_size[1] * self.roi_size[2] * (channels[0] * dtype.itemsize + 1)
        )
        blocks = self.device.type == "cpu" and gather != "vectorised"
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

    def set_epoch(self, epoch: int) -> None:
        """Let the next `iter()` start epoch number `epoch`, counted from 0."""
        self._resume = (epoch, 0)

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
            for block in _pieces(rows, self.batch_size * self._lookahead):
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
        """A batch in the shape and dtypes that were asked for, with noise."""
        if self._spatial_dims == 2:
            image, label = image[..., 0], label[..., 0]
        image, label = self._converted(image, self._output_dtype), self._converted(label, self._label_dtype)
        random = generator(self.seed, epoch, number, self.rank, device=self.device)
        if self._affine is not None:
            image, label = self._affine(image, label, random)
        if self._noise is not None:
            image = self._noise(image, random)
        return {self.image_key: image, self.label_key: label}

    def _converted(self, batch: Tensor, dtype: torch.dtype) -> Tensor:
        """The batch in another dtype; on a CPU in memory that is used again once the batch is dropped."""
        if batch.dtype == dtype or self.device.type != "cpu":
            return batch.to(dtype)
        return self._buffers.take(batch.shape, dtype).copy_(batch)

    def _read(
        self, item: Mapping[str, Any], index: int, settings: RoiSettings, dtype: torch.dtype
    ) -> tuple[StoredVolume, list[Tensor]]:
        """A case as it is kept, and the masks of its regions in the order of `REGIONS`."""
        name = case_name(item, index, self.image_key)
        masks = case_masks(item, name, self.mix, settings, self.background, self.image_key, self.label_key)
        image, lesion = plain(item[self.image_key]), masks[REGIONS.index("lesion")]
        box = bounding_box((image != self.background).any(0) | lesion) or (slice(0, 1),) * 3
        kept = image[(slice(None), *box)]
        kept = kept if dtype.is_floating_point else kept.round()
        volume = StoredVolume(
            torch.empty(kept.shape, dtype=dtype).copy_(kept),
            torch.empty(kept.shape[1:], dtype=torch.uint8).copy_(plain(item[self.label_key])[0][box]),
            tuple(image.shape[1:]),
            tuple(span.start for span in box),
        )
        return volume, slice_masks(masks) if self._whole_slices else masks


def _pieces(rows: slice, length: int) -> Iterator[slice]:
    """A stretch of rows in pieces of `length`, the last of which may be shorter."""
    for start in range(rows.start, rows.stop, length):
        yield slice(start, min(rows.stop, start + length))


def _roi_size(roi_size: Sequence[int], spatial_dims: int, augment: str) -> tuple[int, int, int]:
    _one_of("spatial_dims", spatial_dims, (2, 3))
    _one_of("augment", augment, tuple(AUGMENT))
    sizes = tuple(int(size) for size in roi_size)
    if len(sizes) != spatial_dims or min(sizes) < 1:
        raise InputError(f"roi_size: expected {spatial_dims} sizes from 1, found {list(roi_size)}")
    if augment != "none" and sizes[0] != sizes[1]:
        raise InputError(f"roi_size: expected square patches for augment {augment!r}, found {list(roi_size)}")
    return sizes if spatial_dims == 3 else (*sizes, 1)  # type: ignore[return-value]


def _one_of(name: str, value: Any, allowed: Sequence[Any]) -> None:
    if value not in allowed:
        raise InputError(f"{name}: expected one of {', '.join(map(str, allowed))}, found {value!r}")


def as_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """A torch dtype, by itself or by its name."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype):
        raise InputError(f"dtype: expected the name of a torch dtype such as float16, found {dtype!r}")
    return found
