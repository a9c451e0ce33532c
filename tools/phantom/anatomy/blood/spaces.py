"""What blood must know of a head: distances and sides, computed once per person from its label map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from tools.core.errors import InputError
from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.blood.frame import fit_frame

#: Voxels of the distance fields, mm.
STEP = 2
#: Voxels of displacements, mm.
COARSE = 4
#: mm kept around the inside of the skull.
MARGIN = 8


@dataclass
class Spaces:
    """The inside of a skull.

    labels: int16 (X, Y, Z), a RAS grid of 1 mm; cavity: bool (x, y, z), the box of the inside of the skull;
    start: voxel at which the box begins; frame: 3x4, voxel indices of the whole grid to MNI-like mm;
    fields: float32 (4, x/2, y/2, z/2), mm: depth below the inner table, side (right of the midline positive),
    tent (below the tentorium positive) and distance from the ventricles.
    """

    labels: torch.Tensor
    cavity: torch.Tensor
    start: tuple[int, int, int]
    frame: np.ndarray
    fields: torch.Tensor

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.labels.device

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """The box in the whole grid."""
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.cavity.shape, strict=True))


def sample(field: torch.Tensor, points: torch.Tensor, step: float, mode: str = "bilinear") -> torch.Tensor:
    """Values (C, N) of a field (C, x, y, z) with voxels of `step` mm at points (3, N) in mm of its box."""
    size = torch.tensor(field.shape[1:], device=points.device)[:, None]
    grid = ((points - (step - 1) / 2) / step * 2 / (size - 1).clamp_min(1) - 1).flip(0).mT
    values = F.grid_sample(
        field[None], grid[None, None, None], mode=mode, padding_mode="border", align_corners=True
    )
    return values[0, :, 0, 0]


def distance(mask: np.ndarray) -> np.ndarray:
    """float32 mm from each voxel of STEP mm to a mask; far away where the mask is empty."""
    if not mask.any():
        return np.full(mask.shape, 200.0, np.float32)
    return ndimage.distance_transform_edt(~mask, sampling=STEP).astype(np.float32)


def signed(mask: np.ndarray) -> np.ndarray:
    """mm to the border of a mask: positive inside, smoothed to below a voxel."""
    value = distance(~mask) - distance(mask)
    value -= np.sign(value) * STEP / 2
    return ndimage.gaussian_filter(value, 0.7)


def share_of(labels: torch.Tensor, numbers: tuple[int, ...]) -> np.ndarray:
    """Share of each voxel of STEP mm that holds one of the numbers."""
    return F.avg_pool3d(L.is_in(labels, numbers)[None, None].float(), STEP)[0, 0].cpu().numpy()


def inside(share: np.ndarray, cerebellum: np.ndarray) -> np.ndarray:
    """Largest connected part of the intracranial voxels, without the spinal canal, without holes."""
    mask = share > 0.5
    levels = np.flatnonzero(cerebellum.any((0, 1)))
    if levels.size:
        mask[:, :, : max(0, levels[0] - 1)] = False
    parts, count = ndimage.label(mask)
    if count > 1:
        mask = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
    return ndimage.binary_fill_holes(mask)


def find_spaces(labels: torch.Tensor) -> Spaces:
    """Measure a head; about a second on one core, so keep the result for all bleeds of a person.

    Args:
        labels: integer (X, Y, Z) on a RAS grid of 1 mm, numbers of `tools.phantom.anatomy.labels`. Cerebrum,
            cerebellum and brain stem, ventricles and fluid are enough; deep structures place things better.

    Raises:
        InputError: the map holds no brain.
    """
    within = L.is_in(labels, L.INTRACRANIAL)
    if int(within.sum()) < 20_000:
        raise InputError(
            f"label map of shape {tuple(labels.shape)}: expected a brain, found less than 20 mL of it"
        )
    brain = L.is_in(labels, (*L.PARENCHYMA, *L.VENTRICLES))
    start, size = [], []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        filled = brain.sum(others).nonzero()[:, 0]
        low = max(0, int(filled[0]) - MARGIN - 6)
        high = min(labels.shape[axis], int(filled[-1]) + 1 + MARGIN + 6)
        start.append(low)
        size.append((high - low) // COARSE * COARSE)
    box = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
    part = labels[box]
    cerebellum = share_of(part, L.CEREBELLUM) > 0.5
    cavity = inside(share_of(part, L.INTRACRANIAL), cerebellum)
    frame = fit_frame(labels)
    left, right = share_of(part, L.LEFT) > 0.5, share_of(part, L.RIGHT) > 0.5
    below = cerebellum | (share_of(part, (L.BRAIN_STEM, L.FOURTH)) > 0.5)
    above = share_of(part, L.CEREBRUM) > 0.5
    axes = [a + np.arange(n // STEP, dtype=np.float32) * STEP + 0.5 for a, n in zip(start, size, strict=True)]
    mni = sum(
        frame[:, i, None, None, None] * axis.reshape([1, *(-1 if a == i else 1 for a in range(3))])
        for i, axis in enumerate(axes)
    )
    mni = mni + frame[:, 3, None, None, None]
    side = distance(left) - distance(right) if left.any() and right.any() else mni[0]
    # Without a cerebellum in the map the tentorium is a sloping plane.
    tent = distance(above) - distance(below) if cerebellum.any() else -(mni[2] + 18 + 0.35 * (mni[1] + 50))
    ventricle = distance(share_of(part, L.VENTRICLES) > 0.4)
    fields = [signed(cavity), *(ndimage.gaussian_filter(f, 0.6) for f in (side, tent, ventricle))]
    fields = torch.from_numpy(np.stack(fields).astype(np.float32)).to(labels.device)
    near = F.interpolate(
        torch.from_numpy(cavity)[None, None].float(), scale_factor=STEP, mode="nearest"
    )[0, 0].bool()  # fmt: skip
    # Holes of a map inside the skull belong to it, bone does not.
    cavity = near.to(labels.device) & (within[box] | (part == L.AIR))
    return Spaces(labels, cavity, tuple(start), frame, fields)
