"""What is known about one head before it is scanned: where blood, scanner and rendering meet."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Tissue:
    """HU of one person's tissues."""

    grey: float
    white: float
    csf: float
    sinus: float
    artery: float
    dura: float
    muscle: float
    fat: float
    bone: float
    marrow: float


@dataclass
class Anatomy:
    """One head on a RAS grid of 1 mm whose axes are those of the head.

    Head coordinates: mm, x to the right, y to the front, z up; the mid-sagittal plane is about x = 0
    and slices at constant z are those of a head that lies straight.

    Attributes:
        labels: (X, Y, Z) int16, numbers of `labels`; the larger part of each voxel.
        hu: (X, Y, Z) float32, HU before the scanner, borders of tissues smooth, with texture.
        depth: (X, Y, Z) float32, mm below the inner table of the skull; negative outside it.
        side: (X, Y, Z) float32, mm to the right of the surface between the hemispheres (the falx).
        affine: 4x4 float64, voxel to head coordinates (a translation).
        age: years.
        tissue: HU of this person's tissues.
        truth: plain numbers and names for the truth file.
    """

    labels: torch.Tensor
    hu: torch.Tensor
    depth: torch.Tensor
    side: torch.Tensor
    affine: np.ndarray
    age: float
    tissue: Tissue
    truth: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        return tuple(self.labels.shape)

    @property
    def device(self) -> torch.device:
        """Where the volumes are."""
        return self.labels.device

    def to(self, device: torch.device | str) -> Anatomy:
        """The same head on another device."""
        names = ("labels", "hu", "depth", "side")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def points(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Head coordinates of the voxel centres, three tensors that broadcast to the grid."""
        axes = [
            torch.arange(n, dtype=torch.float32, device=self.device) + float(origin)
            for n, origin in zip(self.shape, self.affine[:3, 3], strict=True)
        ]
        return axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
