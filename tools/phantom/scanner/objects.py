"""Things in the picture that are no head: table, head rest, electrodes on the skin, clips inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tools.phantom.fields import cover, paint

#: Everything denser than this is head or object.
AIR_LIMIT = -400.0


def head_box(hu: torch.Tensor) -> tuple[tuple[int, int], ...]:
    """First and last index of the head along each axis; a volume of air gives its own box."""
    dense = hu > AIR_LIMIT
    box = []
    for axis in range(3):
        there = dense.any(dim=tuple(a for a in range(3) if a != axis)).nonzero()[:, 0]
        box.append((int(there[0]), int(there[-1])) if len(there) else (0, hu.shape[axis] - 1))
    return tuple(box)


def add_rest(
    hu: torch.Tensor,
    spacing: tuple[float, ...],
    kind: str,
    gap: float,
    width: float,
    wall: float,
    wall_hu: float,
) -> torch.Tensor:
    """Put a rest behind the head, in the air only.

    Args:
        hu: (X, Y, Z) RAS.
        spacing: mm.
        kind: `cradle`, a thin shell round the back of the head; `bars`, the cradle's two arms, where the head
            is lifted out of it; `table`, a shallow arc; `none`.
        gap: mm between head and rest.
        width: mm from the middle of the head to the arms.
        wall: thickness in mm.
        wall_hu: HU.
    """
    if kind == "none":
        return hu
    (left, right), (back, front), _ = head_box(hu)
    x = (torch.arange(hu.shape[0], device=hu.device) - (left + right) / 2) * spacing[0]
    y = (torch.arange(hu.shape[1], device=hu.device) - back) * spacing[1] + gap
    x, y = x[:, None], y[None]
    deep = (front - back) * spacing[1]
    if kind == "table":
        radius = 1.6 * width
        away = ((x * x + (y - radius) ** 2).sqrt() - radius).abs() - wall
        away = torch.maximum(away, y - 0.15 * deep)
    else:
        # A superellipse, nearly straight along the arms.
        r = ((x / width).abs() ** 3 + ((y - 0.6 * deep) / (0.6 * deep)).abs() ** 3 + 1e-6) ** (1 / 3)
        away = (r - 1).abs() * min(width, 0.6 * deep) - wall / 2
        away = torch.maximum(away, y - 0.45 * deep)
        if kind == "bars":
            away = torch.maximum(away, 0.2 * deep - y)
    share = cover(away, max(spacing[:2]))[..., None]
    air = ((AIR_LIMIT - hu) / 200).clamp(0, 1)
    return paint(hu, wall_hu, share * air)


def add_metal(
    hu: torch.Tensor, spacing: tuple[float, ...], start: Sequence[float], end: Sequence[float], radius: float,
    value: float,
) -> torch.Tensor:  # fmt: skip
    """Put a metal rod between two voxel positions; radius in mm. Its streaks come with the projections."""
    step = np.asarray(spacing[:3])
    a, b = np.asarray(start) * step, np.asarray(end) * step
    low = np.floor((np.minimum(a, b) - radius) / step - 1).astype(int).clip(0)
    high = np.ceil((np.maximum(a, b) + radius) / step + 2).astype(int).clip(0, hu.shape)
    if (high <= low).any():
        return hu
    window = tuple(slice(int(i), int(j)) for i, j in zip(low, high, strict=True))
    grid = [torch.arange(s.start, s.stop, dtype=torch.float32, device=hu.device) for s in window]
    p = [g * float(mm) - float(o) for g, mm, o in zip(grid, step, a, strict=True)]
    p = torch.meshgrid(*p, indexing="ij")
    along = b - a
    t = sum(c * float(d) for c, d in zip(p, along, strict=True)) / max(float(along @ along), 1e-6)
    t = t.clamp(0, 1)
    # Through thick slices the rod is thinner than the voxel: its share falls with its radius.
    apart = [(c - t * float(d)) for c, d in zip(p, along, strict=True)]
    flat = (apart[0] ** 2 + apart[1] ** 2).sqrt()
    share = cover(flat - radius, spacing[0]) * cover(apart[2].abs() - radius, spacing[2])
    out = hu.clone()
    out[window] = paint(out[window], value, share)
    return out


def skin_points(hu: torch.Tensor, angles: Sequence[float], levels: Sequence[float]) -> list[np.ndarray]:
    """Voxel positions on the skin at angles (radians, from the patient's right) and shares of the height."""
    (left, right), (back, front), (low, high) = head_box(hu)
    found = []
    for angle, level in zip(angles, levels, strict=True):
        k = round(low + level * (high - low))
        reach = torch.arange(0, max(hu.shape[:2]), device=hu.device, dtype=torch.float32)
        i = (((left + right) / 2) + reach * float(np.cos(angle))).round().long()
        j = (((back + front) / 2) + reach * float(np.sin(angle))).round().long()
        inside = (i >= 0) & (i < hu.shape[0]) & (j >= 0) & (j < hu.shape[1])
        i, j = i[inside], j[inside]
        dense = (hu[i, j, k] > AIR_LIMIT).nonzero()[:, 0]
        if len(dense):
            last = int(dense[-1])
            found.append(np.array([int(i[last]), int(j[last]), k], dtype=float))
    return found
