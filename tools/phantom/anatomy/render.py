"""From the grid of a head to the voxels of a scan: a voxel is the mean of points through its thickness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.anatomy import Anatomy
from tools.phantom.anatomy.blood import Blood
from tools.phantom.anatomy.warp import gaussian
from tools.phantom.case import Volumes
from tools.phantom.fields import bump
from tools.phantom.geometry import Pose

#: mm between points through the thickness of a slice, at most.
SUBSLICE = 1.3


def filled_box(mask: torch.Tensor) -> list[tuple[int, int]] | None:
    """First and last index plus one along x, y, z of a box around a mask and a voxel more, None if empty."""
    column = mask.any(2)
    spans: list[tuple[int, int]] = []
    for lines, n in ((column.any(1), mask.shape[0]), (column.any(0), mask.shape[1])):
        where = lines.nonzero()
        if not len(where):
            return None
        spans.append((max(0, int(where[0]) - 1), min(n, int(where[-1]) + 2)))
    where = mask[spans[0][0] : spans[0][1], spans[1][0] : spans[1][1]].any(0).any(0).nonzero()
    spans.append((max(0, int(where[0]) - 1), min(mask.shape[2], int(where[-1]) + 2)))
    return spans


class SliceSampler:
    """Averages volumes of a head over the voxels of a scan.

    Args:
        anatomy: the head whose grid the volumes have.
        pose: of the head in the world.
        affine: 4x4, voxel of the scan to world mm.
        shape: voxels of the scan.
        thickness: mm of a slice.
    """

    def __init__(
        self, anatomy: Anatomy, pose: Pose, affine: np.ndarray, shape: Sequence[int], thickness: float
    ) -> None:
        self.shape, self.device, self.grid = tuple(shape), anatomy.device, anatomy.shape
        self.matrix = np.linalg.inv(anatomy.affine) @ np.linalg.inv(pose.matrix) @ affine
        self.sub = max(1, int(np.ceil(thickness / SUBSLICE)))
        # Slices may be thinner than their distance, with gaps between them, or overlap.
        self.span = round(thickness / float(np.linalg.norm(affine[:3, 2])), 9)

    def box(self, low: Sequence[float], high: Sequence[float]) -> tuple[slice, ...] | None:
        """Voxels of the scan that a box of the head's grid can reach, or None."""
        corners = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1)
        inverse = np.linalg.inv(self.matrix)
        reached = inverse[:3, :3] @ corners + inverse[:3, 3:]
        start = np.clip(np.floor(reached.min(1)) - 1, 0, self.shape).astype(int)
        stop = np.clip(np.ceil(reached.max(1)) + 2, 0, self.shape).astype(int)
        if (start >= stop).any():
            return None
        return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))

    def __call__(self, volume: torch.Tensor, outside: float = 0.0, sub: int | None = None) -> torch.Tensor:
        """Mean over each voxel of the scan.

        Args:
            volume: (x, y, z) float32 on the head's grid.
            outside: value beyond it; the volume is not looked at where it has this value all around.
            sub: points through a slice, if other than usual.

        Returns:
            (X, Y, Z) float32.
        """
        out = torch.full(self.shape, outside, device=self.device)
        spans = filled_box(volume != outside)
        if spans is None:
            return out
        box = self.box([a for a, _ in spans], [b - 1 for _, b in spans])
        if box is None:
            return out
        part = volume[tuple(slice(a, b) for a, b in spans)] - outside
        size = torch.tensor(part.shape, dtype=torch.float64)
        start = torch.tensor([a for a, _ in spans], dtype=torch.float64)
        # Straight to the normalised coordinates of grid_sample, whose last axis is named first.
        matrix = torch.as_tensor(self.matrix)
        scale = (2 / size)[:, None]
        linear = (matrix[:3, :3] * scale).flip(0)
        shift = ((matrix[:3, 3] - start + 0.5) * scale[:, 0] - 1).flip(0)
        linear, shift = (t.to(self.device, torch.float32) for t in (linear, shift))
        i, j = (torch.arange(s.start, s.stop, device=self.device, dtype=torch.float32) for s in box[:2])
        plane = i[:, None, None] * linear[:, 0] + j[None, :, None] * linear[:, 1] + shift
        source, sub = part[None, None].contiguous(), sub or self.sub
        for k in range(box[2].start, box[2].stop):
            total = 0.0
            for step in range(sub):
                depth = k + ((step + 0.5) / sub - 0.5) * self.span
                grid = (plane + depth * linear[:, 2])[None, None]
                total = (
                    total + F.grid_sample(source, grid, padding_mode="zeros", align_corners=False)[0, 0, 0]
                )
            out[box[0], box[1], k] += total / sub
        return out

    def head_coordinates(self, anatomy: Anatomy) -> list[torch.Tensor]:
        """x, y, z in head mm of every voxel's centre, each (X, Y, Z)."""
        matrix = anatomy.affine @ self.matrix
        i, j, k = (torch.arange(n, dtype=torch.float32, device=self.device) for n in self.shape)
        return [
            float(m[0]) * i[:, None, None] + float(m[1]) * j[None, :, None] + float(m[2]) * k + float(m[3])
            for m in matrix[:3]
        ]


def paint_slices(
    blood: Blood, pose: Pose, affine: np.ndarray, shape: Sequence[int], thickness: float
) -> Volumes:
    """Exact volumes of a head with its blood, as the scanner sees them slice by slice."""
    anatomy = blood.anatomy
    sampler = SliceSampler(anatomy, pose, affine, shape, thickness)
    hu = anatomy.hu
    if blood.types:
        share = blood.shares.sum(0)
        hu = hu + (blood.hu - hu) * share
    depth = anatomy.depth
    ventricle = gaussian(L.is_in(anatomy.labels, L.VENTRICLES).float(), 0.5)
    shares = [sampler(share) for share in blood.shares]
    mean = sampler(hu, -1000.0)
    x, y, z = sampler.head_coordinates(anatomy)
    return Volumes(
        hu=mean,
        head=((mean + 1000) / 950).clamp(0, 1),
        brain=sampler((depth + 0.5).clamp(0, 1)),
        ventricle=sampler(ventricle),
        depth=sampler(depth.clamp_min(-60), -60.0, sub=1),
        band=bump(((y + 16) / 16) ** 2, ((z + 34) / 15) ** 2, (x / 48) ** 4),
        shares=torch.stack(shares) if shares else mean.new_zeros((0, *mean.shape)),
    )
