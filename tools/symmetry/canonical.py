"""One grid for all heads: world axes, 2 mm, centred on the head. Any mix of volumes makes one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import torch
import torch.nn.functional as F
from nibabel.orientations import inv_ornt_aff, io_orientation

from tools.core.errors import InputError
from tools.core.tensors import block_means, voxel_ml

GRID_MM = 2.0
GRID_SHAPE = (96, 112, 88)  # 192 x 224 x 176 mm: a head, from the vertex down
HEAD_HU = -200.0  # between air and fat
HEAD_MM = 8.0  # grid on which the head is found: coarse enough to lose the shell of table and head rest
HEAD_MIN_ML = 100.0
VERTEX_MARGIN_MM = 8.0
BLUR_SHARE = 0.56  # of the blur's variance: measured, as slice profiles and interpolation are not Gaussian


@dataclass(frozen=True)
class CanonicalHeads:
    """A batch of heads on the canonical grid.

    Attributes:
        hu: shape (B, 1, nx, ny, nz).
        head: 1 in and just around the head, 0 elsewhere, shape as `hu`.
        has_data: 1 within the volume, shape as `hu`.
        slice_blur: sigma in mm, as a vector along the slice axis, of the blur across slices alone; (B, 3).
        centre: world mm of the grid's centre, (B, 3), float64.
        to_extent: mm about the centre -> fractions of the volume's extent: data lie in 0..1; (B, 3, 4).
    """

    hu: torch.Tensor
    head: torch.Tensor
    has_data: torch.Tensor
    slice_blur: torch.Tensor
    centre: torch.Tensor
    to_extent: torch.Tensor


def canonical_heads(
    volumes: Sequence[torch.Tensor],
    affines: Sequence[torch.Tensor],
    names: Sequence[str],
    window: tuple[float, float],
    air: float = HEAD_HU,
) -> CanonicalHeads:
    """Resample heads to the canonical grid.

    Args:
        volumes: HU, float, each of shape (X, Y, Z); the shapes may differ. Z = 1 gives a 2D canonical grid.
        affines: voxel to world mm, each (4, 4), float64, on the volume's device.
        names: of the cases, for messages.
        window: HU interval in which a head must show some contrast.
        air: HU up to which is air.

    Raises:
        InputError: a volume without a head, or one that is constant inside the window.
    """
    parts = [_canonical(*case, window, air) for case in zip(volumes, affines, names, strict=True)]
    return CanonicalHeads(*(torch.stack(part) for part in zip(*parts, strict=True)))


def in_ras(volume: torch.Tensor, affine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A volume of three axes and its affine, turned so that these are RAS as nearly as they can be."""
    turn = io_orientation(affine.cpu().numpy())
    back = torch.as_tensor(inv_ornt_aff(turn, volume.shape), dtype=affine.dtype, device=affine.device)
    flipped = volume.flip([axis for axis, (_, sign) in enumerate(turn) if sign < 0])
    return flipped.permute(*turn[:, 0].argsort().tolist()), affine @ back


def lattice(shape: Sequence[int], step: int, device: torch.device) -> torch.Tensor:
    """Centres of blocks of step^3 canonical voxels, mm about the grid's centre; (nx, ny, nz, 3), float64."""
    counts = [max(1, n // step) for n in shape]
    axes = [(torch.arange(n, device=device).double() - (n - 1) / 2) * GRID_MM * step for n in counts]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def sample(images: torch.Tensor, grid: torch.Tensor, padding_mode: str = "border") -> torch.Tensor:
    """`grid_sample` in 3D, trilinear, that also uses several CPU cores for a batch of one.

    Args:
        images: shape (B, C, X, Y, Z).
        grid: positions in -1..1, last axis (z, y, x) as grid_sample wants it, shape (B, *any, 3).

    Returns:
        Values of shape (B, C, *any).
    """
    batch, channels = images.shape[:2]
    shape = grid.shape[1:-1]
    points = grid.reshape(batch, -1, 1, 1, 3)
    parts = torch.get_num_threads() if batch == 1 and images.device.type == "cpu" else 1
    count = points.shape[1]
    if parts > 1 and count > 10_000:  # torch spreads a batch over the cores, not the points of one image
        short = -count % parts
        points = F.pad(points, (0, 0, 0, 0, 0, 0, 0, short)).view(parts, -1, 1, 1, 3)
        images = images.expand(parts, -1, -1, -1, -1)
    values = F.grid_sample(images, points, align_corners=False, padding_mode=padding_mode)[..., 0, 0]
    if len(values) != batch:
        values = values.movedim(0, 1).reshape(1, channels, -1)[..., :count]
    return values.view(batch, channels, *shape)


def inside(points: torch.Tensor, to_extent: torch.Tensor) -> torch.Tensor:
    """Whether points (B, ..., 3), mm about the centre, lie between the volume's outermost voxel centres."""
    linear = to_extent[..., :3].to(points.dtype).mT
    shift = to_extent[..., 3].to(points.dtype)
    fraction = (points.flatten(1, -2) @ linear + shift[:, None]).view(points.shape)
    return ((fraction >= 0) & (fraction <= 1)).all(dim=-1)


def _canonical(
    volume: torch.Tensor, affine: torch.Tensor, name: str, window: tuple[float, float], air: float
) -> tuple[torch.Tensor, ...]:
    coarse, coarse_affine = _pool(volume, affine, HEAD_MM)
    head = _find_head(coarse, coarse_affine, name, air)
    fine, fine_affine = _pool(volume, affine, GRID_MM)
    low, high = window
    contrast = fine.clamp(low, high)
    if contrast.max() - contrast.min() < 0.01 * (high - low):
        raise InputError(
            f"{name}: expected a head CT in HU, found a constant volume within {low:g}..{high:g} HU"
        )
    flat = volume.shape[2] == 1

    world = _apply(coarse_affine, torch.nonzero(head).double())
    reach = GRID_SHAPE[2] * GRID_MM
    top = world[:, 2].max() + VERTEX_MARGIN_MM
    centre = world[world[:, 2] > top - reach].mean(dim=0)
    centre[2] = world[0, 2] if flat else top - reach / 2

    points = lattice((*GRID_SHAPE[:2], 1) if flat else GRID_SHAPE, 1, volume.device)
    hu = _resample(fine, fine_affine, points + centre)
    soft_head = _resample(head.float(), coarse_affine, points + centre)
    to_extent = _to_extent(fine_affine, fine.shape, centre)
    has_data = inside(points[None], to_extent[None])[0].to(hu.dtype)
    return hu[None], soft_head[None], has_data[None], _slice_blur(fine_affine), centre, to_extent


def _slice_blur(affine: torch.Tensor) -> torch.Tensor:
    """Slices average over their thickness (taken as the spacing), then are interpolated: s^2/12 + s^2/6."""
    spacing = affine[:3, :3].norm(dim=0)
    excess = (spacing[2].square() - spacing[:2].max().square()).clamp_min(0) / 4 * BLUR_SHARE
    return (affine[:3, 2] / spacing[2] * excess.sqrt()).float()


def _find_head(coarse: torch.Tensor, affine: torch.Tensor, name: str, air: float) -> torch.Tensor:
    """Bool mask of the largest thing denser than air; thin table shells vanish in pooling and erosion."""
    dense = (coarse > air)[None, None].float()
    reach = [3, 3, 1]
    core = -F.max_pool3d(-dense, reach, 1, [r // 2 for r in reach])
    largest = cc3d.largest_k(core[0, 0].bool().cpu().numpy(), k=1, connectivity=6) if core.any() else None
    if largest is not None:
        core = torch.as_tensor(largest > 0, device=coarse.device).float()[None, None]
        head = F.max_pool3d(core, [5, 5, 3], 1, [2, 2, 1])[0, 0] > 0  # one voxel more than the erosion took
        if coarse.shape[2] == 1 or int(head.sum()) * voxel_ml(affine.cpu()) >= HEAD_MIN_ML:
            return head
    raise InputError(f"{name}: expected a head CT in HU, found no head in it")


def _pool(image: torch.Tensor, affine: torch.Tensor, mm: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Average blocks of whole voxels up to about `mm`; rests at the far edge are dropped."""
    spacing = affine[:3, :3].norm(dim=0)
    factor = [max(1, min(n, round(mm / float(s)))) for n, s in zip(image.shape, spacing, strict=True)]
    pooled = block_means(image, factor)
    step = torch.tensor(factor, dtype=torch.float64, device=affine.device)
    matrix = affine.clone()
    matrix[:3, 3] += matrix[:3, :3] @ ((step - 1) / 2)
    matrix[:3, :3] *= step
    return pooled, matrix


def _resample(image: torch.Tensor, affine: torch.Tensor, world: torch.Tensor) -> torch.Tensor:
    """Trilinear values of `image` (X, Y, Z) at world points (..., 3); its border is repeated beyond it."""
    index = _apply(torch.linalg.inv(affine), world)
    size = torch.tensor(image.shape, dtype=torch.float64, device=image.device)
    grid = ((2 * index + 1) / size - 1).flip(-1).to(image.dtype)
    return sample(image[None, None], grid[None])[0, 0]


def _to_extent(affine: torch.Tensor, shape: Sequence[int], centre: torch.Tensor) -> torch.Tensor:
    """World mm about `centre` -> fractions of the volume's extent; an axis of one voxel is always inside."""
    matrix = torch.linalg.inv(affine)[:3].clone()
    matrix[:, 3] += matrix[:, :3] @ centre
    for axis, size in enumerate(shape):
        matrix[axis] /= max(1, size - 1)
        if size == 1:
            matrix[axis] = torch.tensor([0, 0, 0, 0.5], dtype=matrix.dtype)
    return matrix


def _apply(matrix: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return points @ matrix[:3, :3].T + matrix[:3, 3]
