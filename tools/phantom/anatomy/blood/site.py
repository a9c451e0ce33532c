"""Points of a head at which a bleed is computed, with all that it may ask about them."""

from __future__ import annotations

import math
from functools import cached_property

import torch
import torch.nn.functional as F

from tools.phantom.anatomy.blood.spaces import COARSE, STEP, Spaces, sample

#: Edge of a cube of noise, in cells; wavelengths are WAVE cells long.
CELLS, WAVE = 32, 4


def noise_cube(generator: torch.Generator) -> torch.Tensor:
    """(1, CELLS + 1, ...) float32 on the CPU: periodic noise of variance 1, wavelengths about WAVE cells."""
    white = torch.randn((CELLS,) * 3, generator=generator)
    f = torch.fft.fftfreq(CELLS)
    frequency = (f[:, None, None] ** 2 + f[None, :, None] ** 2 + torch.fft.rfftfreq(CELLS) ** 2).sqrt()
    band = torch.exp(-(((frequency - 1 / WAVE) / (0.45 / WAVE)) ** 2))
    band[0, 0, 0] = 0
    cube = torch.fft.irfftn(torch.fft.rfftn(white) * band, s=(CELLS,) * 3)
    return F.pad((cube / cube.std())[None, None], (0, 1) * 3, mode="circular")[0]


def noise(points: torch.Tensor, wavelength: float, generator: torch.Generator) -> torch.Tensor:
    """Noise (N,) of unit variance at points (3, N) in mm; each call draws another field."""
    cube = noise_cube(generator).to(points.device)
    return sample(cube, torch.remainder(points * (WAVE / wavelength), CELLS), 1.0)[0]


class Site:
    """Voxels of a head.

    Args:
        spaces: the head.
        points: (3, N) float32, positions in 1 mm voxels of the box of `spaces`.
        up: unit vector against gravity, in the axes of the grid.
        displacement: (3, x/4, y/4, z/4) mm, or None: anatomy at p now is what lay at p + u(p).
        labels: (N,) labels at the points now.
        flat: (N,) index of each point in the flattened box.
    """

    def __init__(
        self,
        spaces: Spaces,
        points: torch.Tensor,
        up: torch.Tensor,
        displacement: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        flat: torch.Tensor | None = None,
    ) -> None:
        self.spaces, self.points, self.up = spaces, points, up
        self.displacement, self.labels, self.flat = displacement, labels, flat

    @cached_property
    def source(self) -> torch.Tensor:
        """(3, N) where the anatomy at each point came from."""
        if self.displacement is None:
            return self.points
        return self.points + sample(self.displacement, self.points, COARSE)

    @cached_property
    def depth(self) -> torch.Tensor:
        """mm below the inner table, which never moves."""
        return sample(self.spaces.fields[:1], self.points, STEP)[0]

    @cached_property
    def moved(self) -> torch.Tensor:
        """(3, N): side, tent, distance from ventricles, of the anatomy that is here now."""
        return sample(self.spaces.fields[1:], self.source, STEP)

    @property
    def side(self) -> torch.Tensor:
        """mm from the surface between the hemispheres, right positive (twice that within the fissure)."""
        return self.moved[0]

    @property
    def tent(self) -> torch.Tensor:
        """mm below (positive) or above the tentorium."""
        return self.moved[1]

    @property
    def ventricle(self) -> torch.Tensor:
        """mm from the nearest ventricle."""
        return self.moved[2]

    @cached_property
    def mni(self) -> torch.Tensor:
        """(3, N) atlas coordinates in mm of the point in the skull."""
        return to_mni(self.spaces, self.points)

    @cached_property
    def height(self) -> torch.Tensor:
        """mm against gravity, from the middle of the box."""
        middle = torch.tensor(self.spaces.cavity.shape, device=self.points.device)[:, None] / 2
        return (self.up[:, None] * (self.points - middle)).sum(0)


def to_mni(spaces: Spaces, points: torch.Tensor) -> torch.Tensor:
    """Atlas coordinates (3, N) of points (3, N) in the box."""
    frame = torch.as_tensor(spaces.frame, dtype=torch.float32, device=points.device)
    start = torch.tensor(spaces.start, dtype=torch.float32, device=points.device)[:, None]
    return frame[:, :3] @ (points + start) + frame[:, 3:]


def from_mni(spaces: Spaces, place: tuple[float, float, float]) -> torch.Tensor:
    """Position (3,) in the box of a place in atlas coordinates."""
    frame = torch.as_tensor(spaces.frame, dtype=torch.float64)
    start = torch.tensor(spaces.start, dtype=torch.float64)
    voxel = torch.linalg.solve(frame[:, :3], torch.tensor(place, dtype=torch.float64) - frame[:, 3]) - start
    return voxel.float().to(spaces.device)


def unflatten(flat: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """(3, N) float32 voxel positions of flat indices."""
    _, ny, nz = shape
    return torch.stack((flat // (ny * nz), (flat // nz) % ny, flat % nz)).float()


def length(vectors: torch.Tensor) -> torch.Tensor:
    """Lengths (N,) of vectors (3, N); torch's own norm over this axis is slow."""
    return (vectors * vectors).sum(0).sqrt()


def smoothstep(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """0 below `low`, 1 above `high`, smooth between."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def radius_of(ml: float) -> float:
    """Radius in mm of a ball of that volume."""
    return (ml * 1000 * 3 / (4 * math.pi)) ** (1 / 3)
