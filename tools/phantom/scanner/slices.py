"""Thickness of slices and gaps between them.

A volume's third spacing is the distance of slice centres. Slices may be thinner than that (a gap: what lies
between is never seen, and truth does not know it either) or thicker (they overlap).
"""

from __future__ import annotations

from numbers import Real

import numpy as np
import torch

from tools.core.errors import InputError


def check_thickness(thickness: float | None, distance: float) -> float:
    """Thickness in mm, the distance between slices for None; `InputError` unless from 0.1 to 40 mm."""
    if thickness is None:
        return float(distance)
    if not isinstance(thickness, Real) or not 0.1 <= thickness <= 40:
        raise InputError(f"thickness: expected 0.1 to 40 mm, found {thickness!r}")
    return float(thickness)


def slice_offsets(distance: float, thickness: float | None = None, step: float = 1.0) -> np.ndarray:
    """Places through one slice at which to look, as shares of the distance between slices, centre 0.

    Args:
        distance: mm from one slice's centre to the next.
        thickness: mm that a slice averages; None takes `distance`.
        step: mm between places, at most.

    Returns:
        float64, evenly spread; the mean over them is the slice.

    Raises:
        InputError: a thickness outside 0.1 to 40 mm.
    """
    thickness = check_thickness(thickness, distance)
    count = max(1, int(np.ceil(thickness / step - 1e-9)))
    return ((np.arange(count) + 0.5) / count - 0.5) * (thickness / distance)


def average_slices(
    volume: torch.Tensor, fine: float, distance: float, thickness: float | None = None, first: float = 0.0
) -> torch.Tensor:
    """Scan a finely sampled volume: each slice is the mean over its thickness, by exact overlap.

    Args:
        volume: (..., Z) values or shares, constant through each thin slice.
        fine: mm through a thin slice; they touch.
        distance, thickness: of the slices made, as in `slice_offsets`.
        first: mm from the lower face of the volume to the centre of the first slice made; 0 puts the first
            slice's lower face there.

    Returns:
        (..., number of slices that lie within the volume).

    Raises:
        InputError: not one slice fits in.
    """
    thickness = check_thickness(thickness, distance)
    height = volume.shape[-1] * fine
    first = first or thickness / 2
    count = int(np.floor((height - thickness / 2 - first) / distance + 1e-9)) + 1
    if count < 1:
        raise InputError(
            f"thickness: expected less than the {height:g} mm of the volume, found {thickness:g}"
        )
    centres = first + np.arange(count) * distance
    faces = np.arange(volume.shape[-1] + 1) * fine
    low, high = centres - thickness / 2, centres + thickness / 2
    overlap = np.minimum(faces[1:, None], high) - np.maximum(faces[:-1, None], low)
    weight = torch.as_tensor(overlap.clip(0) / thickness, dtype=volume.dtype, device=volume.device)
    return volume @ weight
