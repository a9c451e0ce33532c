"""The mid-sagittal plane of a head CT, found directly: two angles and an offset, no registration.

All planes are tried on a coarse grid, so there is no start pose to be trapped by; the best few are refined by
robust Gauss-Newton, coarse to fine. The plane itself is the unknown: its angles are the head's own, not the
doubled ones of a registered flip. The Welsch cost saturates where the two sides differ: a large one-sided
bleed with midline shift counts as outliers and does not pull the plane.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from tools.core.errors import InputError
from tools.core.tensors import affine_of, file_name, head_image
from tools.symmetry.canonical import (
    GRID_MM,
    HEAD_HU,
    CanonicalHeads,
    canonical_heads,
    in_ras,
    inside,
    lattice,
    sample,
)

SOFT_HU = (-100.0, 100.0)  # fat to blood; bone is one white shape
LOW_SCORE = 0.7

SEARCH_DEG = torch.linspace(-45, 45, 11)  # yaw and roll of the plane
SEARCH_MM = torch.linspace(-24, 24, 7)  # its distance from the head's centre
MAX_DEG = 45.0  # of the plane's normal from left-right: beyond, diagonals of the skull look symmetric
FREE_MM = 100.0  # height of the data from which on the roll is free; a thin slab would turn the head out
FLAT_MM = 20.0  # height up to which there is none
MIN_OVERLAP = 0.4  # of the head, whose mirror image must lie in the volume
BLUR_TAPS = ((-2.0, 0.06), (-1.0, 0.24), (0.0, 0.4), (1.0, 0.24), (2.0, 0.06))  # a Gaussian of sigma 1


@dataclass(frozen=True)
class _Level:
    """One stage of the refinement; steps are in canonical voxels."""

    image_step: int
    point_step: int
    keep: int
    scale: float  # of the residual (window = 1) beyond which a voxel counts as an outlier
    iterations: int


LEVELS = (
    _Level(image_step=4, point_step=4, keep=8, scale=0.4, iterations=6),
    _Level(image_step=2, point_step=4, keep=3, scale=0.2, iterations=6),
    _Level(image_step=2, point_step=2, keep=1, scale=0.2, iterations=4),
    _Level(image_step=1, point_step=2, keep=1, scale=0.15, iterations=6),
)
EVEN_BLUR_FROM = 2  # level by which the roll is known well enough for `_even_blur`


@dataclass(frozen=True)
class SymmetryPlane:
    """The plane {p: normal . p = offset} in RAS+ world mm.

    Attributes:
        normal: unit normal with normal[..., 0] > 0, float64, (3,), or (B, 3) for a batch.
        offset: mm, float64, (), or (B,).
        score: normalised correlation of the windowed head with its mirror image, 1 if perfectly symmetric.
    """

    normal: torch.Tensor
    offset: torch.Tensor
    score: torch.Tensor

    def __getitem__(self, index: int) -> SymmetryPlane:
        return SymmetryPlane(self.normal[index], self.offset[index], self.score[index])

    def __len__(self) -> int:
        return len(self.normal)

    def reflection(self) -> torch.Tensor:
        """The mirror image as a world-to-world matrix, (4, 4) or (B, 4, 4), float64."""
        normal = self.normal
        matrix = torch.eye(4, dtype=torch.float64, device=normal.device).repeat(*normal.shape[:-1], 1, 1)
        matrix[..., :3, :3] -= 2 * normal[..., :, None] * normal[..., None, :]
        matrix[..., :3, 3] = 2 * self.offset[..., None] * normal
        return matrix


def estimate_symmetry_plane(
    volume: torch.Tensor,
    affine: torch.Tensor | np.ndarray | None = None,
    window: tuple[float, float] = SOFT_HU,
    low_score: float = LOW_SCORE,
    case: str | None = None,
) -> SymmetryPlane:
    """Mid-sagittal plane of one head CT.

    Args:
        volume: HU, shape (1, X, Y, Z), stored in any orientation.
        affine: voxel to world mm, (4, 4); taken from `volume` if that is a MetaTensor.
        window: HU interval that is compared.
        low_score: a UserWarning names the case if the score is below this.
        case: name for messages, instead of the MetaTensor's file name.

    Raises:
        InputError: no head, a single slice, a constant volume, NaN, or the wrong shape.
    """
    affines, cases = None if affine is None else [affine], None if case is None else [case]
    return estimate_symmetry_planes([volume], affines, window, low_score, cases)[0]


def estimate_symmetry_planes(
    volumes: Sequence[torch.Tensor],
    affines: Sequence[torch.Tensor | np.ndarray] | None = None,
    window: tuple[float, float] = SOFT_HU,
    low_score: float = LOW_SCORE,
    cases: Sequence[str] | None = None,
) -> SymmetryPlane:
    """Mid-sagittal planes of a cohort in one batch: a list of (1, X, Y, Z) of any shapes, or (B, 1, X, Y, Z).

    Arguments and errors as for `estimate_symmetry_plane`; all volumes on one device.
    """
    images, matrices, names = [], [], []
    for i, volume in enumerate(volumes):
        name = cases[i] if cases is not None else file_name(volume, f"volume {i}")
        matrix = affine_of(volume, None if affines is None else affines[i], name)
        image, matrix = in_ras(head_image(volume, name), matrix)
        if image.shape[2] < 2:
            raise InputError(
                f"{name}: expected a volume of at least two slices, found shape {tuple(volume.shape)}"
            )
        images.append(image)
        matrices.append(matrix)
        names.append(name)
    return fit_planes(images, matrices, names, window, HEAD_HU, low_score)


def fit_planes(
    images: Sequence[torch.Tensor],
    affines: Sequence[torch.Tensor],
    names: Sequence[str],
    window: tuple[float, float],
    air: float,
    low_score: float,
) -> SymmetryPlane:
    """Planes of checked volumes (X, Y, Z), or of slices (X, Y, 1), which get planes without roll."""
    plane = _fit(canonical_heads(images, affines, names, window, air), window)
    for name, score in zip(names, plane.score.tolist(), strict=True):
        if score < low_score:
            warnings.warn(
                f"{name}: symmetry score {score:.2f} is below {low_score:.2f}; the mirror plane may be wrong",
                UserWarning,
                stacklevel=4,
            )
    return plane


def _fit(heads: CanonicalHeads, window: tuple[float, float]) -> SymmetryPlane:
    flat = heads.hu.shape[-1] == 1
    image = _windowed(heads, heads.hu, window)
    params = _search(heads, _pool(image, LEVELS[0].image_step), LEVELS[0], flat)
    for i, level in enumerate(LEVELS):
        if i == EVEN_BLUR_FROM and not flat:
            image = _windowed(heads, _even_blur(heads, params[:, 0]), window)
        params, cost = _refine(heads, _pool(image, level.image_step), params[:, : level.keep], level, flat)
        order = cost.argsort(dim=1)[..., None].expand_as(params)
        params = params.gather(1, order)
    score = _score(heads, image, params[:, :1])
    normal = _normal(params[:, 0].double())[0]
    offset = params[:, 0, 2].double() + (normal * heads.centre).sum(dim=-1)
    return SymmetryPlane(normal, offset, score)


def _windowed(heads: CanonicalHeads, hu: torch.Tensor, window: tuple[float, float]) -> torch.Tensor:
    """The window as 0..1, 0 outside the head, so that table and head rest do not count."""
    low, high = window
    return (hu.clamp(low, high) - low) / (high - low) * heads.head


def _even_blur(heads: CanonicalHeads, params: torch.Tensor) -> torch.Tensor:
    """HU, blurred across the *mirrored* slices as they already are across the slices.

    Thick slices blur a slanted skull wall, and the window, which cuts bone at 100 HU, turns blur into a
    shift, which in a rolled head differs between the sides and biases the roll towards 0 (3 % at 5 mm).
    """
    normal = _normal(params)[0]
    direction = heads.slice_blur - 2 * (heads.slice_blur * normal).sum(-1, keepdim=True) * normal
    points = lattice(heads.hu.shape[2:], 1, params.device).float().flatten(0, 2)
    half = _half_extent(heads, points)
    out = torch.zeros_like(heads.hu)
    for shift, weight in BLUR_TAPS:
        grid = ((points + shift * direction[:, None]) / half).flip(-1)
        out += weight * sample(heads.hu, grid.view(len(grid), *heads.hu.shape[2:], 3))
    return out


def _search(heads: CanonicalHeads, image: torch.Tensor, level: _Level, flat: bool) -> torch.Tensor:
    """The best planes of a global search, (B, level.keep, 3): yaw, roll (radians), mm from the centre."""
    angle = torch.deg2rad(SEARCH_DEG).to(image.device)
    roll = angle[:1] * 0 if flat else angle
    planes = torch.cartesian_prod(angle, roll, SEARCH_MM.to(image.device))
    planes = planes[_normal(planes)[0][:, 0] > math.cos(math.radians(MAX_DEG))]
    points, value, weight = _points(heads, image, level.point_step if flat else 2 * level.point_step)
    mirrored, overlap, _ = _mirror(image, points, planes.expand(len(image), -1, -1), heads, weight)
    cost = _cost((value - mirrored[:, 0]) / level.scale, overlap)
    cost = cost.masked_fill(overlap.sum(-1) < MIN_OVERLAP * weight.sum(-1), math.inf)
    cost = cost.masked_fill(planes[:, 1].abs() > _most_roll(heads), math.inf)
    return planes[cost.topk(level.keep, dim=1, largest=False).indices]


def _most_roll(heads: CanonicalHeads) -> torch.Tensor:
    """Radians of roll at which the mirror image of a head's sides still lies within its data, (B, 1)."""
    height = heads.has_data.amax(dim=(1, 2, 3)).sum(-1, keepdim=True) * GRID_MM
    roll = 0.5 * ((height - FLAT_MM) / (FREE_MM - FLAT_MM)).clamp(0, 1).asin()
    return roll + (height >= FREE_MM) * math.pi


def _refine(
    heads: CanonicalHeads, image: torch.Tensor, params: torch.Tensor, level: _Level, flat: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Levenberg-Marquardt on the Welsch cost; params (B, K, 3) -> the same, and the cost (B, K)."""
    stack = torch.cat([image, _gradient(image, GRID_MM * level.image_step)], dim=1)
    points, value, weight = _points(heads, image, level.point_step)
    free = torch.tensor([1.0, 0.0 if flat else 1.0, 1.0], device=image.device)
    unit = torch.tensor([0.02, 0.02, 1.0], device=image.device)  # steps of about 1 mm at the skull

    def linearise(p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mirrored, overlap, moved = _mirror(stack, points, p, heads, weight)
        residual = (value - mirrored[:, 0]) / level.scale
        robust = overlap * torch.exp(-0.5 * residual.square())
        jacobian = -torch.einsum("bgkp,bkpgj->bkpj", mirrored[:, 1:], moved) * (unit * free / level.scale)
        hessian = torch.einsum("bkp,bkpi,bkpj->bkij", robust, jacobian, jacobian)
        gradient = torch.einsum("bkp,bkpi,bkp->bki", robust, jacobian, residual)
        norm = overlap.sum(-1).clamp_min(1.0)
        return _cost(residual, overlap), hessian / norm[..., None, None], gradient / norm[..., None]

    most_roll = _most_roll(heads)
    cost, hessian, gradient = linearise(params)
    damping = torch.full_like(cost, 1e-3)
    eye = torch.eye(3, device=image.device)
    for _ in range(level.iterations):
        trace = hessian.diagonal(dim1=-2, dim2=-1).sum(-1)
        ridge = (damping * trace + 1e-9)[..., None, None] * eye
        step = -torch.linalg.solve(hessian + ridge, gradient[..., None])[..., 0] * unit * free
        trial = params + step
        trial[..., 1] = trial[..., 1].clamp(-most_roll, most_roll)
        trial_cost, trial_hessian, trial_gradient = linearise(trial)
        better = trial_cost < cost
        params = torch.where(better[..., None], trial, params)
        gradient = torch.where(better[..., None], trial_gradient, gradient)
        hessian = torch.where(better[..., None, None], trial_hessian, hessian)
        cost = torch.where(better, trial_cost, cost)
        damping = torch.where(better, damping / 10, damping * 10)
    off_limits = _normal(params)[0][..., 0] < math.cos(math.radians(MAX_DEG + 5))
    return params, cost.masked_fill(off_limits, math.inf)


def _mirror(
    stack: torch.Tensor,
    points: torch.Tensor,
    params: torch.Tensor,
    heads: CanonicalHeads,
    weight: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values of `stack` at the mirrored points, the weights with data there, and d point / d params.

    Args:
        stack: (B, C, nx, ny, nz) on the canonical grid or a pooled version of it.
        points: (P, 3), mm about the centre.
        params: (B, K, 3).
        weight: (B, 1, P).

    Returns:
        values (B, C, K, P), weights (B, K, P), derivatives (B, K, P, 3, 3: coordinate, parameter).
    """
    normal, by_yaw, by_roll = (n[..., None, :] for n in _normal(params))
    distance = (points * normal).sum(-1, keepdim=True) - params[..., None, 2:]
    mirrored = points - 2 * distance * normal
    values = sample(stack, (mirrored / _half_extent(heads, points)).flip(-1))
    columns = [(points * d).sum(-1, keepdim=True) * normal + distance * d for d in (by_yaw, by_roll)]
    moved = torch.stack([-2 * columns[0], -2 * columns[1], (2 * normal).expand_as(mirrored)], dim=-1)
    return values, weight * inside(mirrored, heads.to_extent), moved


def _normal(params: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit normal of planes (..., 3), and its derivatives by yaw and roll."""
    yaw, roll = params[..., 0], params[..., 1]
    cy, sy, cr, sr = yaw.cos(), yaw.sin(), roll.cos(), roll.sin()
    columns = (cr * cy, cr * sy, sr), (-cr * sy, cr * cy, torch.zeros_like(yaw)), (-sr * cy, -sr * sy, cr)
    normal, by_yaw, by_roll = (torch.stack(column, dim=-1) for column in columns)
    return normal, by_yaw, by_roll


def _cost(residual: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean Welsch cost over the last axis: square for small residuals, 1 for outliers."""
    loss = 1 - torch.exp(-0.5 * residual.square())
    return (loss * weight).sum(-1) / weight.sum(-1).clamp_min(1e-6)


def _points(
    heads: CanonicalHeads, image: torch.Tensor, step: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lattice points (P, 3) in any head of the batch, image values and head weights (B, 1, P)."""
    points = lattice(heads.hu.shape[2:], step, image.device).float().flatten(0, 2)
    weight = _pool(heads.head * heads.has_data, step).flatten(2)
    used = weight.amax(dim=(0, 1)) > 0.05
    points, weight = points[used], weight[..., used]
    grid = (points / _half_extent(heads, points)).flip(-1)
    value = sample(image, grid.expand(len(image), -1, -1))
    return points, value, weight


def _half_extent(heads: CanonicalHeads, points: torch.Tensor) -> torch.Tensor:
    return torch.tensor(heads.hu.shape[2:], dtype=points.dtype, device=points.device) * (GRID_MM / 2)


def _pool(image: torch.Tensor, step: int) -> torch.Tensor:
    return F.avg_pool3d(image, [min(step, n) for n in image.shape[2:]])


def _gradient(image: torch.Tensor, mm: float) -> torch.Tensor:
    """Central differences per mm, (B, 3, nx, ny, nz); zero along an axis of one voxel."""
    parts = [
        torch.gradient(image, spacing=mm, dim=axis)[0] if image.shape[axis] > 1 else torch.zeros_like(image)
        for axis in (2, 3, 4)
    ]
    return torch.cat(parts, dim=1)


def _score(heads: CanonicalHeads, image: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
    """Normalised correlation of the head with its mirror image, (B,), float64."""
    image = _pool(image, 2)
    points, value, weight = _points(heads, image, 2)
    mirrored, weight, _ = _mirror(image, points, params, heads, weight)
    a, b, w = value[:, 0].double(), mirrored[:, 0, 0].double(), weight[:, 0].double()
    w = w / w.sum(-1, keepdim=True).clamp_min(1e-6)
    a = a - (a * w).sum(-1, keepdim=True)
    b = b - (b * w).sum(-1, keepdim=True)
    spread = ((a * a * w).sum(-1) * (b * b * w).sum(-1)).sqrt()
    return (a * b * w).sum(-1) / spread.clamp_min(1e-12)
