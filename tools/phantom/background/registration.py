"""A label map moved onto a real scan, by the HU that its labels would have.

Scan and map are compared as three pictures: soft tissue against air, bone, and fluid inside the skull. An
affine matrix is found first, then a stationary velocity field, both by gradient descent from coarse to fine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.warp import gaussian, integrate

#: HU by which labels are compared with a scan.
LOOKS = {
    (L.AIR,): -1000.0,
    (*L.WHITE, L.BRAIN_STEM, *L.CEREBELLAR_WHITE): 28.0,
    (*L.GREY, L.PINEAL, L.CHIASM, L.CALCIUM): 36.0,
    (*L.VENTRICLES, *L.FLUID): 6.0,
    (*L.DURA, L.SINUS, L.ARTERY): 50.0,
    (*L.SCALP, L.VESSEL, L.CORD, L.PITUITARY): 45.0,
    (L.FAT,): -95.0,
    (L.EYE, L.LENS_ORBIT, L.MUCOSA): 10.0,
    (L.BONE,): 1100.0,
    (L.MARROW,): 500.0,
    (L.AIR_CELLS,): -500.0,
}

#: Weight of each picture in the comparison: soft tissue, bone, fluid.
WEIGHTS = (1.0, 1.0, 3.0)


def looks(labels: torch.Tensor) -> torch.Tensor:
    """HU (X, Y, Z) float32 of a label map."""
    table = torch.full((L.COUNT,), 35.0)
    for numbers, value in LOOKS.items():
        table[list(numbers)] = value
    return table[labels.to(torch.int32)]


def pictures(hu: torch.Tensor, cavity: torch.Tensor) -> torch.Tensor:
    """(3, X, Y, Z): soft tissue, bone, and fluid inside the skull, each from about 0 to 1."""
    soft = (hu.clamp(-200, 40) + 200) / 240
    bone = (hu.clamp(100, 700) - 100) / 600
    fluid = (30 - hu.clamp(5, 30)) / 25 * cavity
    return torch.stack([soft, bone, fluid])


@dataclass
class Volume:
    """Pictures (3, X, Y, Z) with the 4x4 matrix from voxels to mm."""

    values: torch.Tensor
    affine: np.ndarray

    def coarser(self, mm: float) -> Volume:
        """The same on cubes of about `mm`; voxels are averaged."""
        spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
        shape = np.asarray(self.values.shape[1:])
        new = np.maximum(1, np.round(shape * spacing / mm)).astype(int)
        factor = shape / new
        values = self.values
        sigma = [float(max(0.0, f / 2.5)) if f > 1 else 0.0 for f in factor]
        values = torch.stack([gaussian(v, sigma) for v in values])
        values = F.interpolate(values[None], size=tuple(new.tolist()), mode="trilinear", align_corners=False)[
            0
        ]
        step = np.eye(4)
        step[:3, :3], step[:3, 3] = np.diag(factor), (factor - 1) / 2
        return Volume(values, self.affine @ step)

    def points(self) -> torch.Tensor:
        """(X, Y, Z, 3) float32, mm of the voxels' centres."""
        axes = [torch.arange(n, dtype=torch.float32) for n in self.values.shape[1:]]
        index = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
        matrix = torch.as_tensor(self.affine, dtype=torch.float32)
        return index @ matrix[:3, :3].T + matrix[:3, 3]

    def at(self, points: torch.Tensor) -> torch.Tensor:
        """Values (3, ...) at points (..., 3) in mm; the border's value beyond it."""
        inverse = torch.as_tensor(np.linalg.inv(self.affine), dtype=torch.float32)
        index = points @ inverse[:3, :3].T + inverse[:3, 3]
        size = torch.tensor(self.values.shape[1:], dtype=torch.float32)
        grid = ((2 * index + 1) / size - 1).flip(-1).reshape(1, 1, 1, -1, 3)
        values = F.grid_sample(self.values[None], grid, padding_mode="border", align_corners=False)
        return values.reshape(len(self.values), *points.shape[:-1])


@dataclass
class Alignment:
    """Where points of the scan lie in the map.

    Attributes:
        matrix: 4x4, scan's world mm to the map's head mm.
        velocity: (3, x, y, z) mm on a grid of `step` mm in head coordinates.
        origin: of that grid in mm.
        difference: mean squared difference of the pictures that is left.
    """

    matrix: np.ndarray
    velocity: torch.Tensor
    origin: np.ndarray
    step: float
    difference: float

    def displacement(self) -> torch.Tensor:
        """mm to add to a head point, (3, x, y, z) on the velocity's grid."""
        return integrate(self.velocity, self.step)

    def moved(self, points: torch.Tensor) -> torch.Tensor:
        """Head points (..., 3) after the matrix -> points of the map."""
        return points + _field(self.displacement(), points, self.origin, self.step)


def _field(field: torch.Tensor, points: torch.Tensor, origin: np.ndarray, step: float) -> torch.Tensor:
    """Values (..., 3) of a coarse vector field at points (..., 3)."""
    size = torch.tensor(field.shape[1:], dtype=torch.float32)
    index = (points - torch.as_tensor(origin, dtype=torch.float32)) / step
    grid = (2 * index / (size - 1) - 1).flip(-1).reshape(1, 1, 1, -1, 3)
    values = F.grid_sample(field[None], grid, padding_mode="border", align_corners=True)
    return values.reshape(3, -1).T.reshape(points.shape)


def _difference(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    weight = torch.tensor(WEIGHTS).view(-1, *[1] * (wanted.ndim - 1))
    return (weight * (found - wanted) ** 2).mean()


def first_guess(
    scan_cavity: torch.Tensor, scan_affine: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Matrix from world to head mm that puts the scan's cavity into the map's box `low` to `high` (head mm).

    The scan may end below the map's base or above its top: height is taken from the vertex down.
    """
    index = scan_cavity.nonzero().double().numpy()
    world = index[:: max(1, len(index) // 100_000)] @ scan_affine[:3, :3].T + scan_affine[:3, 3]
    bottom, top = np.percentile(world, 0.5, 0), np.percentile(world, 99.5, 0)
    matrix = np.eye(4)
    scale = np.clip((high - low) / (top - bottom), 0.75, 1.3)
    scale[2] = scale[:2].mean()
    matrix[:3, :3] = np.diag(scale)
    matrix[:3, 3] = (low + high) / 2 - scale * (bottom + top) / 2
    matrix[2, 3] = high[2] - scale[2] * top[2]
    return matrix


def fit_affine(
    scan: Volume, head: Volume, guess: np.ndarray, grids: tuple[float, ...] = (8.0, 5.0), steps: int = 60
) -> tuple[np.ndarray, float]:
    """Improve a world-to-head matrix; returns it and the difference left."""
    centre = torch.as_tensor(np.linalg.inv(guess)[:3, :3] @ -guess[:3, 3], dtype=torch.float32)
    linear = torch.as_tensor(guess[:3, :3], dtype=torch.float32).clone().requires_grad_()
    shift = torch.zeros(3, requires_grad=True)
    loss = torch.tensor(0.0)
    for grid in grids:
        fixed, moving = scan.coarser(grid), head.coarser(grid)
        points, wanted = fixed.points() - centre, fixed.values
        optimizer = torch.optim.Adam(
            [{"params": [linear], "lr": 0.0012 * grid}, {"params": [shift], "lr": 0.12 * grid}]
        )
        for _ in range(steps):
            optimizer.zero_grad()
            loss = _difference(moving.at(points @ linear.T + shift), wanted)
            loss.backward()
            optimizer.step()
    matrix = np.eye(4)
    matrix[:3, :3] = linear.detach().double().numpy()
    matrix[:3, 3] = shift.detach().double().numpy() - matrix[:3, :3] @ centre.double().numpy()
    return matrix, float(loss.detach())


def fit_velocity(
    scan: Volume,
    head: Volume,
    matrix: np.ndarray,
    grids: tuple[float, ...] = (5.0, 4.0),
    step: float = 10.0,
    steps: int = 50,
    stiffness: float = 0.02,
) -> Alignment:
    """Deform the map onto the scan after the matrix.

    Args:
        scan, head: pictures.
        matrix: 4x4, world to head mm.
        grids: mm at which pictures are compared, coarse to fine.
        step: mm between samples of the velocity.
        steps: of descent on each grid.
        stiffness: weight of the velocity's squared slope.
    """
    affine = torch.as_tensor(matrix, dtype=torch.float32)
    ends = scan.coarser(grids[0]).points().reshape(-1, 3) @ affine[:3, :3].T + affine[:3, 3]
    origin = np.floor(ends.min(0).values.numpy()) - step
    size = np.ceil((ends.max(0).values.numpy() - origin) / step).astype(int) + 2
    velocity = torch.zeros((3, *size.tolist()), requires_grad=True)
    optimizer = torch.optim.Adam([velocity], lr=0.4)
    loss = torch.tensor(0.0)
    for grid in grids:
        fixed, moving = scan.coarser(grid), head.coarser(grid)
        points = fixed.points() @ affine[:3, :3].T + affine[:3, 3]
        for _ in range(steps):
            optimizer.zero_grad()
            displacement = integrate(velocity, step)
            loss = _difference(moving.at(points + _field(displacement, points, origin, step)), fixed.values)
            slopes = [velocity.diff(dim=axis).square().mean() for axis in (1, 2, 3)]
            (loss + stiffness * sum(slopes) / step).backward()
            optimizer.step()
    return Alignment(matrix, velocity.detach(), origin, step, float(loss.detach()))
