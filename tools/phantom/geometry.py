"""Where the head lies in the scanner: pose, mid-sagittal plane, and voxel centres in head coordinates.

Convention: world = R head + shift, R = Rz(yaw) Rx(pitch) Ry(roll), right-handed angles in degrees, RAS+ mm.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch


def rotation(axis: int, degrees: float) -> np.ndarray:
    """3x3 right-handed rotation about one axis (0 right, 1 anterior, 2 superior)."""
    angle = np.deg2rad(degrees)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[j, i], matrix[i, j] = np.sin(angle), -np.sin(angle)
    return matrix


@dataclass(frozen=True)
class Pose:
    """Rotation in degrees and shift in mm of the head in the world."""

    yaw: float = 0.0
    roll: float = 0.0
    pitch: float = 0.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def matrix(self) -> np.ndarray:
        """4x4 float64 matrix from head to world coordinates."""
        matrix = np.eye(4)
        matrix[:3, :3] = rotation(2, self.yaw) @ rotation(0, self.pitch) @ rotation(1, self.roll)
        matrix[:3, 3] = self.shift
        return matrix

    def plane(self) -> dict[str, object]:
        """Mid-sagittal plane {p: normal . p = offset} in world mm, unit normal pointing right."""
        normal = self.matrix[:3, 0] * np.sign(self.matrix[0, 0])
        return {"normal": normal.tolist(), "offset": float(normal @ self.matrix[:3, 3])}

    def as_dict(self) -> dict[str, object]:
        """Plain numbers for a truth file."""
        return asdict(self) | {"shift": list(self.shift)}


def scan_affine(shape: tuple[int, ...], spacing: tuple[float, ...], tilt: float = 0.0) -> np.ndarray:
    """4x4 voxel-to-world matrix of a scan whose centre is the world's origin.

    `tilt` is the gantry's angle in degrees: slices lean about the left-right axis while the table still moves
    along the world's z, which makes the matrix a shear.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(spacing)
    matrix[:3, 1] = rotation(0, tilt)[:, 1] * spacing[1]
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return matrix


def head_points(
    voxel_to_head: np.ndarray, shape: tuple[int, ...], slices: range, subslices: int, device: torch.device,
    span: float = 1.0,
) -> torch.Tensor:  # fmt: skip
    """Head coordinates (3, X, Y, len(slices), subslices) float32 of points spread evenly through slices.

    `span` is the thickness of a slice as a share of the distance between slices.
    """
    matrix = torch.as_tensor(voxel_to_head, dtype=torch.float32, device=device)
    i, j = (torch.arange(n, dtype=torch.float32, device=device) for n in shape[:2])
    k = torch.arange(slices.start, slices.stop, dtype=torch.float32, device=device)[:, None]
    k = k + ((torch.arange(subslices, device=device) + 0.5) / subslices - 0.5) * span
    rows = [
        (m[0] * i)[:, None, None, None] + (m[1] * j)[:, None, None] + (m[2] * k + m[3])
        for m in matrix[:3].unbind(0)
    ]
    return torch.stack(rows)
