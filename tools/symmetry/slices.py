"""The same in 2D, for slices without a volume: in-plane rotation and translation per slice (Li 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tools.core.errors import InputError
from tools.core.tensors import plain
from tools.symmetry.canonical import HEAD_HU
from tools.symmetry.mirror import AIR_HU, symmetry_map
from tools.symmetry.plane import LOW_SCORE, SOFT_HU, SymmetryPlane, fit_planes

FIELD_OF_VIEW_MM = 240.0  # of a head CT slice, when the pixel size is not known


def estimate_symmetry_axes(
    slices: torch.Tensor,
    spacing: Sequence[float] | None = None,
    window: tuple[float, float] = SOFT_HU,
    air: float = HEAD_HU,
    low_score: float = LOW_SCORE,
    cases: Sequence[str] | None = None,
) -> SymmetryPlane:
    """The axis of symmetry of each slice.

    Args:
        slices: axial slices in HU, shape (B, 1, X, Y), X from right to left or left to right.
        spacing: pixel size in mm along X and Y; None takes the larger side as 240 mm.
        window: interval of values that is compared; for 8-bit images (0, 255).
        air: values up to this are air; for 8-bit images about 20.
        low_score, cases: as for `estimate_symmetry_planes`.

    Returns:
        Planes with normal[:, 2] = 0, in mm from the centre of pixel (0, 0).

    Raises:
        InputError: a slice without a head, constant, or not finite; the wrong shape.
    """
    if slices.ndim != 4 or slices.shape[1] != 1:
        raise InputError(f"slices: expected shape (B, 1, X, Y), found {tuple(slices.shape)}")
    names = cases or [f"slice {i}" for i in range(len(slices))]
    images = [image[0, ..., None].float() for image in plain(slices)]
    affines = [_affine(slices, spacing)] * len(images)
    return fit_planes(images, affines, names, window, air, low_score)


def slice_symmetry_map(
    slices: torch.Tensor,
    axes: SymmetryPlane,
    spacing: Sequence[float] | None = None,
    fill: float = AIR_HU,
) -> torch.Tensor:
    """Slices (B, 1, X, Y), each mirrored at its axis; `spacing` as in `estimate_symmetry_axes`."""
    images = plain(slices)
    affines = _affine(slices, spacing).expand(len(images), 4, 4)
    return symmetry_map(images[..., None], axes, affines, fill)[..., 0]


def _affine(slices: torch.Tensor, spacing: Sequence[float] | None) -> torch.Tensor:
    """Pixel indices to mm; the slice is taken as 1 mm thick, which has no effect."""
    sx, sy = spacing or [FIELD_OF_VIEW_MM / max(slices.shape[-2:])] * 2
    return torch.diag(torch.tensor([sx, sy, 1.0, 1.0], dtype=torch.float64)).to(slices.device)
