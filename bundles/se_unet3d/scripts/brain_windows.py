"""Sliding windows over the brain only: inside it the result of all windows, for a third of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor, compute_importance_map, dense_patch_slices
from monai.engines import default_prepare_batch
from monai.inferers import SlidingWindowInferer
from monai.utils import ensure_tuple_rep, fall_back_tuple
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from scripts.background import BACKGROUND, foreground
from tools.core.tensors import finite, plain, with_metadata_of
from tools.engine.memory import FittingBatches
from tools.engine.precision import HasFloat32Forward

__all__ = ["WindowProbabilityInferer", "brain_windows", "prepare_with_brain", "window_starts"]


class WindowProbabilityInferer(SlidingWindowInferer):
    """Class probabilities, averaged over overlapping windows; windows that touch no brain are skipped.

    Windows lie where MONAI's `SlidingWindowInferer` puts them. A voxel of the brain lies in no window that is
    skipped, so its result is the same as with all windows. Outside the brain, background has probability 1.
    A mask says where the brain is (`prepare_with_brain` hands it over). Without one, as in MONAI Label, it is
    the image's foreground, see `scripts.background`.

    Abramova 2021, section 2.2.3: patches of the training size, overlapping by more than a half, whose
    probabilities are averaged. MONAI's inferer averages what the network returns, here logits; this one
    applies the softmax first, so the postprocessing must not.

    Args:
        roi_size: window size in voxels; a number that is not positive stands for the size of the image.
        sw_batch_size: windows per call of the network. CPUs are fastest with about 8, which fit their cache.
        overlap: share of the window, for all axes or one for each.
        step: distance between windows in voxels, for all axes or one for each, instead of `overlap`
            (INSTANCE 2022: 8, 8, 2).
        mode: "constant", or "gaussian" to trust a window's middle more than its edge.
        sigma_scale: width of the Gaussian as a share of the window.
        background: what the first channel holds outside the brain; None if nothing marks the brain: without a
            mask every window is used.
        progress: show a progress bar.
        refine: in bfloat16, decide close voxels in float32: where the probability of hemorrhage of any type
            is less than this from `threshold`, or above it the two best types less than twice this apart, all
            windows are computed once more in float32, if the network is a
            `tools.engine.precision.HasFloat32Forward`. Where that is more than rounding costs, labels are
            float32's. 0, or a network that computes in float32 anyway, leaves it out.
        threshold: of the probability of hemorrhage, with which labels are made of the result.

    Raises:
        ValueError: for an overlap outside [0, 1) or a step below 1 or above the window size.

    Example:
        >>> inferer = WindowProbabilityInferer(roi_size=(32, 32, 16))
        >>> inferer(torch.rand(1, 2, 64, 64, 24), network).shape  # network: (B, 2, ...) -> (B, classes, ...)
        torch.Size([1, 2, 64, 64, 24])
    """

    def __init__(
        self,
        roi_size: Sequence[int] | int,
        sw_batch_size: int = 8,
        overlap: Sequence[float] | float = 0.5,
        step: Sequence[int] | int | None = None,
        mode: str = "constant",
        sigma_scale: Sequence[float] | float = 0.125,
        background: float | None = BACKGROUND,
        progress: bool = False,
        refine: float = 0.0,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(
            roi_size, sw_batch_size, overlap, mode, sigma_scale, cval=background or 0.0, progress=progress
        )
        self.step = step
        self.background = background
        self.refine = refine
        self.threshold = threshold
        self.fitting = FittingBatches(sw_batch_size)

    @torch.no_grad()
    def __call__(  # type: ignore[override] # returns one tensor, and takes the brain by name
        self,
        inputs: Tensor,
        network: Callable[..., Tensor],
        *args: Any,
        brain: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor | MetaTensor:
        """
        Args:
            inputs: in shape (batch, channels, spatial_1, spatial_2[, spatial_3]).
            network: windows in shape (n, channels, *roi_size) -> logits in shape (n, classes, *roi_size).
            args: passed on to the network.
            brain: mask in shape (batch, 1, spatial_1, ...), not 0 in the brain.
            kwargs: passed on to the network.

        Returns:
            probabilities, float32, in shape (batch, classes, spatial_1, ...), on the device of the input; a
            MetaTensor if the input is one.

        Out of memory, fewer windows are computed at a time, and in the end the CPU computes, where the result
        then is, see `tools.engine.memory`.

        Raises:
            InputError: the network gives NaN or infinite values.
        """

        def infer(batch: int, device: torch.device) -> Tensor:
            mask = None if brain is None else brain.to(device)
            return self._infer(batch, plain(inputs).to(device), network, *args, brain=mask, **kwargs)

        return with_metadata_of(inputs, self.fitting.run(infer, network, inputs.device))

    def _infer(
        self,
        batch: int,
        image: Tensor,
        network: Callable[..., Tensor],
        *args: Any,
        brain: Tensor | None,
        **kwargs: Any,
    ) -> Tensor:
        """Probabilities (batch, classes, ...) with `batch` windows at a time."""
        size = image.shape[2:]
        roi_size = tuple(fall_back_tuple(self.roi_size, size))
        if brain is not None:
            brain = plain(brain)[:, 0] != 0
        elif self.background is not None:
            brain = torch.stack([foreground(item, self.background) for item in image])
        else:
            brain = torch.ones_like(image[:, 0], dtype=torch.bool)
        # Images smaller than the window lie in the middle of it, mirrored at their ends: background would
        # look like the end of the brain, where a slab of a head has none.
        before = [max(r - s, 0) // 2 for r, s in zip(roi_size, size, strict=True)]
        after = [max(r - s, 0) - b for b, r, s in zip(before, roi_size, size, strict=True)]
        pad = [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
        if any(pad):
            image, brain = _mirrored(image, before, after), F.pad(brain, pad)

        starts = window_starts(image.shape[2:], roi_size, self.overlap, self.step)
        windows = brain_windows(brain, starts, roi_size)
        weight = compute_importance_map(roi_size, self.mode, self.sigma_scale, image.device, torch.float32)
        # A network's own autocast keeps the weights that it has cast while an outer context lasts.
        with torch.autocast(image.device.type, enabled=False):
            total = finite(self._mean(batch, image, windows, roi_size, weight, network, *args, **kwargs))
        exact = network.in_float32 if isinstance(network, HasFloat32Forward) else None
        close = self._close(total) & brain if self.refine and exact is not None else None
        if close is not None and close.any():
            # all windows of a close voxel are among these, so its mean is complete
            windows = brain_windows(close, starts, roi_size)
            again = self._mean(batch, image, windows, roi_size, weight, exact, *args, **kwargs)
            total = torch.where(close[:, None], again, total)
        total[:, 1:].masked_fill_(~brain[:, None], 0.0)
        total[:, 0].masked_fill_(~brain, 1.0)

        inside = [slice(b, b + s) for b, s in zip(before, size, strict=True)]
        return total[(slice(None), slice(None), *inside)]

    def _close(self, probabilities: Tensor) -> Tensor:
        """Where rounding may decide whether there is hemorrhage, or of which type: bool, (batch, ...)."""
        types = probabilities[:, 1:]
        above = types.sum(1) - self.threshold
        close = above.abs() < self.refine
        if types.shape[1] > 1:
            best = types.topk(2, 1).values
            close |= (above > 0) & (best[:, 0] - best[:, 1] < 2 * self.refine)
        return close

    def _mean(
        self,
        most: int,
        image: Tensor,
        windows: list[tuple[slice | int, ...]],
        roi_size: Sequence[int],
        weight: Tensor,
        network: Callable[..., Tensor],
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """Weighted mean of the probabilities, (batch, classes, ...); 0 where no window was used."""
        total: Tensor | None = None
        layout = torch.channels_last_3d if len(roi_size) == 3 else torch.channels_last
        count = min(most, len(windows))
        batch = image.new_empty((count, image.shape[1], *roi_size)).contiguous(memory_format=layout)
        for first in tqdm(range(0, len(windows), count), desc="windows", disable=not self.progress):
            part = windows[first : first + count]
            for row, (item, *space) in enumerate(part):
                batch[row] = image[(item, slice(None), *space)]
            probabilities = torch.softmax(network(batch[: len(part)], *args, **kwargs).float(), 1)
            if self.mode != "constant":
                probabilities *= weight
            if total is None:
                total = probabilities.new_zeros((len(image), probabilities.shape[1], *image.shape[2:]))
            for row, (item, *space) in enumerate(part):
                total[(item, slice(None), *space)] += probabilities[row]
        assert total is not None, "there is one window at least"
        return total / self._sum_of_weights((len(image), *image.shape[2:]), windows, weight).clamp(min=1e-9)

    def _sum_of_weights(
        self, shape: Sequence[int], windows: list[tuple[slice | int, ...]], weight: Tensor
    ) -> Tensor:
        """What the sum has to be divided by, (batch, 1, ...); 0 where no window was used."""
        total = weight.new_zeros(tuple(shape))
        for window in windows:
            total[window] += weight
        return total[:, None]


def _mirrored(image: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """The image with voxels before and after it along each axis, mirrored at its ends as often as needed."""
    for axis, (low, high) in enumerate(zip(before, after, strict=True), start=2):
        if low or high:
            index = np.pad(np.arange(image.shape[axis]), (low, high), mode="symmetric")
            image = image.index_select(axis, torch.from_numpy(index).to(image.device))
    return image


def prepare_with_brain(
    batchdata: Mapping[str, Any], device: Any = None, non_blocking: bool = False, **kwargs: Any
) -> tuple[Tensor, Tensor | None, tuple, dict[str, Tensor]]:
    """`prepare_batch` of a MONAI engine that hands the entry `brain` to `WindowProbabilityInferer`.

    Returns:
        image, label or None, no further arguments, and the keyword argument `brain` of the inferer.
    """
    image, label = default_prepare_batch(dict(batchdata), device, non_blocking, **kwargs)
    return image, label, (), {"brain": batchdata["brain"].to(device=device, non_blocking=non_blocking)}


def window_starts(
    size: Sequence[int],
    roi_size: Sequence[int],
    overlap: Sequence[float] | float,
    step: Sequence[int] | int | None = None,
) -> list[list[int]]:
    """First voxels of the windows, a list for each axis: the grid of MONAI's `sliding_window_inference`.

    Args:
        size: of the image, nowhere smaller than the window.
        roi_size: of the window.
        overlap: share of the window; the step is what remains, rounded down to whole voxels, at least 1.
        step: in voxels, instead of `overlap`.

    Raises:
        ValueError: for an overlap outside [0, 1) or a step below 1 or above the window size.
    """
    overlaps = ensure_tuple_rep(overlap, len(size))
    if any(not 0 <= share < 1 for share in overlaps):
        raise ValueError(f"overlap must be at least 0 and below 1, got {overlap}")
    if step is None:
        steps = [max(int(length * (1 - share)), 1) for length, share in zip(roi_size, overlaps, strict=True)]
    else:
        steps = list(ensure_tuple_rep(step, len(size)))
    if any(not 1 <= s <= length for s, length in zip(steps, roi_size, strict=True)):
        raise ValueError(f"step must be from 1 to the window size {tuple(roi_size)}, got {step}")
    grids = (dense_patch_slices([n], [r], [s]) for n, r, s in zip(size, roi_size, steps, strict=True))
    return [[int(window[0].start) for window in grid] for grid in grids]


def brain_windows(
    brain: Tensor, starts: Sequence[Sequence[int]], roi_size: Sequence[int]
) -> list[tuple[slice | int, ...]]:
    """The windows that touch the brain, as indices (item of the batch, slice of each axis) into the mask.

    Args:
        brain: bool, (batch, spatial_1, ...).
        starts: first voxels of the windows, see `window_starts`.
        roi_size: of the window.

    Returns:
        one window or more: without any brain, the first one, as the network must be asked at least once for
        the number of its classes.
    """
    touched = brain
    for axis, (firsts, length) in enumerate(zip(starts, roi_size, strict=True), start=1):
        touched = torch.stack([touched.narrow(axis, first, length).any(axis) for first in firsts], axis)
    indices = touched.nonzero().tolist() or [[0] * touched.ndim]
    windows: list[tuple[slice | int, ...]] = []
    for item, *index in indices:
        corner = (firsts[i] for firsts, i in zip(starts, index, strict=True))
        windows.append((item, *(slice(f, f + r) for f, r in zip(corner, roi_size, strict=True))))
    return windows
