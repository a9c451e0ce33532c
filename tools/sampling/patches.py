"""Patches cut out of volumes that lie on a device, many in one call.

Two ways that give the same patches to the bit: `SliceBank` copies one block per patch, which is fastest on a
CPU; `GatherBank` gathers by computed indices, without a loop or a round trip to the host, which suits a GPU.

Convention: a patch of size r with centre voxel c spans c - r // 2 ... c - r // 2 + r - 1 on every axis, so
the centre of an even size is the voxel above the middle (as in MONAI's crops). Outside is background.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SYMMETRIES = ("identity", "flip x", "flip y", "rotate 90", "rotate 180", "rotate 270")
"""The six in-plane transforms of Abramova 2021; rotations are `torch.rot90` with k = 1, 2, 3 in (X, Y)."""

_WORD = {1: torch.uint8, 2: torch.int16, 4: torch.int32}


@dataclass(frozen=True)
class StoredVolume:
    """One case as it is kept: the box of it that differs from the background.

    Args:
        image: (C, x, y, z), the storage dtype.
        label: (x, y, z), uint8.
        shape: shape (X, Y, Z) of the whole volume.
        offset: first voxel of the kept box in the whole volume.
    """

    image: Tensor
    label: Tensor
    shape: tuple[int, ...]
    offset: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of image and label."""
        return self.image.numel() * self.image.element_size() + self.label.numel()


def symmetry(patch: Tensor, op: int) -> Tensor:
    """`SYMMETRIES[op]` of a patch (..., X, Y, Z)."""
    if op == 0:
        return patch
    return patch.flip(op - 4) if op < 3 else torch.rot90(patch, op - 2, (-3, -2))


def cut(volume: Tensor, corner: Sequence[int], size: Sequence[int], background: float) -> Tensor:
    """One patch (C, *size) of a volume (C, X, Y, Z), padded with `background` where it sticks out."""
    patch = volume.new_full((volume.shape[0], *size), background)
    source, target = _overlap(corner, size, volume.shape[1:])
    patch[(slice(None), *target)] = volume[(slice(None), *source)]
    return patch


def _overlap(
    corner: Sequence[int], size: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a patch and a volume overlap, as slices of the volume and of the patch; empty ones if nowhere."""
    source, target = [], []
    for low, length, limit in zip(corner, size, shape, strict=True):
        start, stop = max(low, 0), min(low + length, limit)
        if start >= stop:
            start = stop = low = 0
        source.append(slice(start, stop))
        target.append(slice(start - low, stop - low))
    return tuple(source), tuple(target)


class HostBuffers:
    """Tensors in host memory that is used again: fresh pages cost more than the patches copied into them.

    Memory is handed out again only when no tensor refers to it any more.
    """

    def __init__(self) -> None:
        self._pool: list[np.ndarray] = []

    def take(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Uninitialised contiguous tensor of the given shape and dtype."""
        count = math.prod(shape) * dtype.itemsize
        for index in range(len(self._pool)):
            # 2 references are the pool's and the call's. A tensor and its views hold one more until freed.
            if self._pool[index].nbytes >= count and sys.getrefcount(self._pool[index]) <= 2:
                break
        else:
            index = len(self._pool)
            self._pool.append(np.empty(count, dtype=np.uint8))
        return torch.from_numpy(self._pool[index][:count]).view(dtype).view(*shape)


class SliceBank:
    """Volumes in host memory, from which patches (rx, ry, rz) are copied block by block, in `threads`.

    All images have the same channels and dtype; `background` is the value outside.
    """

    def __init__(
        self,
        volumes: Sequence[StoredVolume],
        roi_size: Sequence[int],
        background: float,
        buffers: HostBuffers | None = None,
        threads: int = 1,
    ) -> None:
        self.roi_size = tuple(roi_size)
        self.dtype = volumes[0].image.dtype
        self.channels = volumes[0].image.shape[0]
        # NumPy copies small blocks with less overhead than torch, but has no bfloat16: copy the raw words.
        self._word = _WORD[self.dtype.itemsize]
        self._fill = torch.tensor(background, dtype=self.dtype).view(self._word).item()
        self._volumes = [(v.image.view(self._word).numpy(), v.label.numpy()) for v in volumes]
        self._buffers = buffers or HostBuffers()
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "patches") if threads > 1 else None

    def gather(self, case: Tensor, corner: Tensor, op: Tensor) -> tuple[Tensor, Tensor]:
        """Image (B, C, rx, ry, rz) of the storage dtype and label (B, 1, rx, ry, rz) uint8.

        Args:
            case: index of the volume, (B,).
            corner: first voxel of the patch in the stored box, (B, 3); may lie outside.
            op: index into `SYMMETRIES`, (B,).
        """
        images = self._buffers.take((len(case), self.channels, *self.roi_size), self._word)
        labels = self._buffers.take((len(case), 1, *self.roi_size), torch.uint8)
        # Copied in the order in which the patches lie in memory, neighbours share cache lines.
        order = np.lexsort((corner[:, 0].numpy(), case.numpy()))
        parts = [(part, case, corner, op, images, labels) for part in np.array_split(order, self._threads)]
        if self._pool is None:
            self._copy(*parts[0])
        else:
            for _ in self._pool.map(lambda part: self._copy(*part), parts):
                pass
        return images.view(self.dtype), labels

    def _copy(
        self, rows: np.ndarray, case: Tensor, corner: Tensor, op: Tensor, images: Tensor, labels: Tensor
    ) -> None:
        rx, ry, rz = self.roi_size
        to_images, to_labels = images.numpy(), labels.numpy()[:, 0]
        # A patch that is turned is copied here first: turning it in the cache is faster than on the way.
        scratch = np.empty_like(to_images[0]), np.empty_like(to_labels[0])
        plan = (array.numpy()[rows].tolist() for array in (case, corner, op))
        for row, index, (x, y, z), turn in zip(rows.tolist(), *plan, strict=True):
            image, label = self._volumes[index]
            to_image, to_label = scratch if turn else (to_images[row], to_labels[row])
            nx, ny, nz = label.shape
            if x >= 0 and y >= 0 and z >= 0 and x + rx <= nx and y + ry <= ny and z + rz <= nz:
                to_image[:] = image[:, x : x + rx, y : y + ry, z : z + rz]
                to_label[:] = label[x : x + rx, y : y + ry, z : z + rz]
            else:
                (xs, ys, zs), (xt, yt, zt) = _overlap((x, y, z), self.roi_size, label.shape)
                to_image.fill(self._fill)
                to_label.fill(0)
                to_image[:, xt, yt, zt] = image[:, xs, ys, zs]
                to_label[xt, yt, zt] = label[xs, ys, zs]
            if turn:
                to_images[row], to_labels[row] = _turned(to_image, turn), _turned(to_label, turn)


def _turned(patch: np.ndarray, op: int) -> np.ndarray:
    """`symmetry` for arrays, by slicing: NumPy's own functions take longer than the copy."""
    if op in (3, 5):
        patch = patch.swapaxes(-3, -2)
    x = slice(None, None, -1 if op in (1, 3, 4) else 1)
    y = slice(None, None, -1 if op in (2, 4, 5) else 1)
    return patch[..., x, y, :]


class GatherBank:
    """Volumes as two flat buffers on any device, from which patches are gathered by indices."""

    def __init__(
        self,
        volumes: Sequence[StoredVolume],
        roi_size: Sequence[int],
        background: float,
        device: torch.device | str = "cpu",
    ) -> None:
        self.roi_size = tuple(roi_size)
        self.channels = volumes[0].image.shape[0]
        sizes = torch.tensor([v.label.numel() for v in volumes])
        starts = (sizes.cumsum(0) - sizes).tolist()
        dtype = volumes[0].image.dtype
        self._image = torch.empty(int(sizes.sum()) * self.channels, dtype=dtype, device=device)
        self._label = torch.empty(int(sizes.sum()), dtype=torch.uint8, device=device)
        for volume, start, size in zip(volumes, starts, sizes.tolist(), strict=True):
            image = self._image.narrow(0, start * self.channels, size * self.channels)
            image.copy_(volume.image.reshape(-1), non_blocking=True)
            self._label.narrow(0, start, size).copy_(volume.label.reshape(-1), non_blocking=True)
        self._start = torch.tensor(starts, device=device)
        self._shape = torch.tensor([v.label.shape for v in volumes], device=device)
        self._fill = torch.tensor(background, dtype=dtype, device=device)
        self._z = torch.arange(self.roi_size[2], device=device)
        self._channel = torch.arange(self.channels, device=device).view(1, -1, 1, 1, 1)
        self._sources = _symmetry_sources(self.roi_size, device)

    def gather(self, case: Tensor, corner: Tensor, op: Tensor) -> tuple[Tensor, Tensor]:
        """As `SliceBank.gather`; the arguments lie on the bank's device, and nothing leaves it."""
        start = self._start[case].view(-1, 1, 1, 1)
        nx, ny, nz = (self._shape[case, axis].view(-1, 1, 1, 1) for axis in range(3))
        in_x, in_y = (source[op].unsqueeze(-1) for source in self._sources)
        x = in_x + corner[:, 0].view(-1, 1, 1, 1)
        y = in_y + corner[:, 1].view(-1, 1, 1, 1)
        z = self._z + corner[:, 2].view(-1, 1, 1, 1)
        inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny) & (z >= 0) & (z < nz)
        voxel = torch.where(inside, (x * ny + y) * nz + z, 0)
        labels = torch.where(inside, self._label[start + voxel], 0).unsqueeze(1)
        first = (start * self.channels + voxel).unsqueeze(1)
        index = first + self._channel * (nx * ny * nz).unsqueeze(1)
        images = torch.where(inside.unsqueeze(1), self._image[index], self._fill)
        return images, labels

    def tensors(self) -> Iterable[Tensor]:
        """Everything the bank keeps on its device."""
        own = (value for value in vars(self).values() if isinstance(value, Tensor))
        return (*own, *self._sources)


def _symmetry_sources(roi_size: Sequence[int], device: torch.device | str) -> tuple[Tensor, Tensor]:
    """For every transform and output pixel, the x and y of the patch it comes from: two tensors (6, rx, ry).

    Where rx != ry a quarter turn does not fit the patch; its entry is the identity, and is never asked for.
    """
    rx, ry = roi_size[:2]
    axes = torch.meshgrid(torch.arange(rx), torch.arange(ry), indexing="ij")
    ops = [0 if rx != ry and op in (3, 5) else op for op in range(len(SYMMETRIES))]
    x, y = (torch.stack([symmetry(axis[..., None], op)[..., 0] for op in ops]).to(device) for axis in axes)
    return x, y
