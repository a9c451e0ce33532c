"""Volumes as clinicians want them: mL per class, ABC/2, agreement of two volume measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cc3d
import numpy as np
import torch
from scipy.spatial import ConvexHull

from tools.core.errors import InputError
from tools.core.tensors import as_mask
from tools.metrics.overlap import count_true

SAME_SHARE = 0.10  # volumes within 10 % count as the same


def volume_ml(mask: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
    """Volume of each mask (batch, channel, X, Y, Z), with spacing in mm: mL, float64 (batch, channel)."""
    return count_true(as_mask(mask).flatten(2)).to(torch.float64) * (math.prod(map(float, spacing)) / 1000)


def abc_half_ml(mask: torch.Tensor | np.ndarray, spacing: Sequence[float]) -> float:
    """ABC/2 of one hematoma in mL (Kothari 1996): an ellipsoid's volume from three measures on the slices.

    A is the largest diameter on the slice with the largest area, B the longest one at right angles to A
    there, both from edge to edge of the lesion's outline; C is the slice thickness times the number of
    slices, where a slice counts 1 from 75 % of the largest area on, one half from 25 % on. An empty mask has
    0 mL.

    Args:
        mask: one lesion, shape (X, Y, slices); zero is background.
        spacing: voxel edge lengths in mm, the slice thickness last.
    """
    mask = _host(mask)
    area = mask.sum((0, 1))
    if not area.any():
        return 0.0
    a, b = _diameters(mask[:, :, int(area.argmax())], spacing)
    share = area / area.max()
    c = float(((share >= 0.75) * 0.5 + (share >= 0.25) * 0.5).sum()) * float(spacing[2])
    return a * b * c / 2 / 1000


def abc_half_total_ml(mask: torch.Tensor | np.ndarray, spacing: Sequence[float]) -> float:
    """Sum of `abc_half_ml` over the separate hematomas (26-connected components) of a scan, mL."""
    labels, n = cc3d.connected_components(_host(mask), connectivity=26, return_N=True)
    boxes = cc3d.statistics(labels)["bounding_boxes"]
    return math.fsum(abc_half_ml(labels[boxes[i]] == i, spacing) for i in range(1, n + 1))


def _diameters(pixels: np.ndarray, spacing: Sequence[float]) -> tuple[float, float]:
    """Largest diameter of a set of pixels (edge to edge) and the longest one at right angles to it, mm."""
    corners = np.argwhere(pixels)[:, None] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    points = np.unique(corners.reshape(-1, 2), axis=0) * np.asarray(spacing[:2], dtype=np.float64)
    hull = points[ConvexHull(points).vertices]
    difference = hull[:, None] - hull[None]
    length = np.linalg.norm(difference, axis=-1)
    i, j = np.unravel_index(length.argmax(), length.shape)
    a = float(length[i, j])
    along = (hull - hull[i]) @ (hull[j] - hull[i]) / a
    across = (hull - hull[i]) @ np.array([hull[i][1] - hull[j][1], hull[j][0] - hull[i][0]]) / a
    # the outline above and below A; the widest chord at right angles to A passes through a corner of the
    # outline
    upper, lower = (_chain(along, across * sign, (i, j)) for sign in (1, -1))
    width = np.interp(along, *upper) + np.interp(along, *lower)
    return a, float(width.max())


def _chain(along: np.ndarray, across: np.ndarray, ends: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    keep = across > 0
    keep[list(ends)] = True
    x, y = along[keep], np.maximum(across[keep], 0)
    order = np.argsort(x)
    return x[order], y[order]


def bland_altman(predicted_ml: Sequence[float], true_ml: Sequence[float]) -> dict[str, Any]:
    """Agreement of two volume measurements (Bland and Altman 1986), difference = predicted - true.

    Returns:
        n, bias and limits of agreement (bias -+ 1.96 sd) in mL, None for one case; `within_10_percent`: the
        share of cases whose difference is at most 10 % of the true volume (of 0, only 0 is within).
    """
    predicted, true = (np.asarray(v, dtype=np.float64) for v in (predicted_ml, true_ml))
    if predicted.shape != true.shape or predicted.ndim != 1 or not len(true):
        raise InputError(
            f"Bland-Altman: expected as many predicted as true volumes, at least one, "
            f"found {predicted.shape} and {true.shape}"
        )
    difference = predicted - true
    bias = float(difference.mean())
    sd = float(difference.std(ddof=1)) if len(true) > 1 else None
    # one rounding error of slack, so that exactly 10 % is within
    within = np.abs(difference) <= SAME_SHARE * true * (1 + 1e-12)
    low, high = (None, None) if sd is None else (bias - 1.96 * sd, bias + 1.96 * sd)
    limits = {"lower_limit_ml": low, "upper_limit_ml": high}
    return {"n": len(true), "bias_ml": bias, "sd_ml": sd, **limits, "within_10_percent": float(within.mean())}


def _host(mask: torch.Tensor | np.ndarray) -> np.ndarray:
    mask = as_mask(mask).cpu().numpy()
    if mask.ndim != 3:
        raise InputError(f"volume: expected a mask in shape (X, Y, slices), found {mask.shape}")
    return mask
