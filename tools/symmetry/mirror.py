"""What the plane is for: the mirrored image on the original's grid, and the head brought to the midline."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from tools.core.tensors import affine_of, plain, with_metadata_of
from tools.symmetry.canonical import sample
from tools.symmetry.plane import SymmetryPlane

AIR_HU = -1024.0


def symmetry_map(
    volume: torch.Tensor,
    plane: SymmetryPlane,
    affine: torch.Tensor | np.ndarray | None = None,
    fill: float = AIR_HU,
) -> torch.Tensor:
    """The volume mirrored at the plane, resampled into its own grid: the network's second channel.

    2D slices of a volume are slices of this map; for slices without a volume see `slice_symmetry_map`.

    Args:
        volume: shape (1, X, Y, Z), or a batch (B, 1, X, Y, Z) with a plane of batched tensors.
        plane: from `estimate_symmetry_plane` or `estimate_symmetry_planes`.
        affine: voxel to world mm, (4, 4) or (B, 4, 4); taken from `volume` if that is a MetaTensor.
        fill: value where the mirrored volume has no data.

    Returns:
        Tensor like `volume` (a MetaTensor with its affine if that is one), float32; trilinear.
    """
    matrix = affine_of(volume, affine, "symmetry map")
    reflection = plane.reflection().to(matrix.device)
    return with_metadata_of(volume, _resample(volume, torch.linalg.inv(matrix) @ reflection @ matrix, fill))


def align_to_midline(
    volume: torch.Tensor,
    plane: SymmetryPlane,
    affine: torch.Tensor | np.ndarray | None = None,
    fill: float = AIR_HU,
) -> torch.Tensor:
    """The head turned (least rotation) and shifted so that its plane is the middle of its left-right axis.

    Arguments as for `symmetry_map`. The result has the grid of `volume`; flipped along the axis that is
    nearest to left-right, in RAS by `result.flip(1)`, it is its own symmetry map.
    """
    matrix = affine_of(volume, affine, "symmetry map")
    normal, offset = plane.normal.to(matrix.device), plane.offset.to(matrix.device)
    axes = matrix[..., :3, :3] / matrix[..., :3, :3].norm(dim=-2, keepdim=True)
    cosines = (axes * normal[..., None]).sum(-2)
    nearest = F.one_hot(cosines.abs().argmax(-1), 3) * cosines.sign()
    axis = (axes * nearest[..., None, :]).sum(-1)
    size = torch.tensor(volume.shape[-3:], dtype=torch.float64, device=matrix.device)
    middle = (matrix[..., :3, :3] @ ((size - 1) / 2)[:, None])[..., 0] + matrix[..., :3, 3]
    # Rotation that takes the grid's axis to the normal: reflection at their bisector after one at the axis.
    bisector = axis + normal
    bisector = bisector / bisector.norm(dim=-1, keepdim=True)
    rotation = _householder(bisector) @ _householder(axis)
    to_plane = (offset - (normal * middle).sum(-1))[..., None] * normal
    pull = torch.eye(4, dtype=torch.float64, device=matrix.device).repeat(*normal.shape[:-1], 1, 1)
    pull[..., :3, :3] = rotation
    pull[..., :3, 3] = middle + to_plane - (rotation @ middle[..., None])[..., 0]
    return with_metadata_of(volume, _resample(volume, torch.linalg.inv(matrix) @ pull @ matrix, fill))


def _householder(unit: torch.Tensor) -> torch.Tensor:
    eye = torch.eye(3, dtype=unit.dtype, device=unit.device)
    return eye - 2 * unit[..., :, None] * unit[..., None, :]


def _resample(volume: torch.Tensor, index_map: torch.Tensor, fill: float) -> torch.Tensor:
    """Trilinear volume at `index_map` @ index, (4, 4) or (B, 4, 4) float64; `fill` outside."""
    image = plain(volume).float()
    batch = image if image.ndim == 5 else image[None]
    size = torch.tensor(batch.shape[2:], dtype=torch.float64, device=batch.device)
    # to grid_sample's -1..1 and (z, y, x), composed in float64 so that only the last step is float32
    unit = torch.eye(4, dtype=torch.float64, device=batch.device)
    unit[:3, :3], unit[:3, 3] = torch.diag(2 / size), 1 / size - 1
    theta = (unit @ index_map @ torch.linalg.inv(unit)).expand(len(batch), 4, 4)
    theta = theta[:, :3].flip(1)[:, :, [2, 1, 0, 3]].to(batch.dtype)
    grid = F.affine_grid(theta, list(batch.shape), align_corners=False)
    out = sample(batch - fill, grid, padding_mode="zeros") + fill
    return out if image.ndim == 5 else out[0]
