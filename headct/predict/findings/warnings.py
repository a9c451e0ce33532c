"""Warnings about a scan: what may make the result worse than the model's card says."""

from __future__ import annotations

import numpy as np

from tools.volumes.doubts import coverage_doubts

__all__ = ["volume_warnings"]

THICK_MM = 6.0
TILT_DEGREES = 1.0
MEDIAN_HU = (15.0, 45.0)  # of all inside the skull; brain is 20 to 45, with much CSF less
VESSEL_HU, VESSEL_SHARE = (90.0, 250.0), 0.004  # what only contrast (or a large clot) makes of inner voxels
DENSE_HU = 3071.0  # the top of a 12-bit scale: metal
LOW_SCORE = 0.7


def volume_warnings(
    hu: np.ndarray, brain: np.ndarray, affine: np.ndarray, spacing: np.ndarray, score: float | None
) -> list[str]:
    """Sentences about one volume (X, Y, Z), RAS, in HU, with its brain mask.

    Args:
        hu, brain: same shape.
        affine: voxel to world (RAS+ mm).
        spacing: voxel edge lengths in mm.
        score: of the symmetry plane; None if none was found.
    """
    found = [_shear(affine), _thick(spacing), *coverage_doubts(hu, brain, spacing), _density(hu, brain)]
    found += [_contrast(hu, brain, spacing), _metal(hu, brain), _symmetry(score)]
    return [text for text in found if text]


def _shear(affine: np.ndarray) -> str:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    skew = np.abs(axes.T @ axes - np.eye(3)).max()
    degrees = float(np.degrees(np.arcsin(min(skew, 1.0))))
    if degrees < TILT_DEGREES:
        return ""
    return (
        f"The slices are tilted by {degrees:.1f} degrees in the file; volumes hold, distances "
        f"across slices are rough."
    )


def _thick(spacing: np.ndarray) -> str:
    return (
        f"Thick slices ({spacing[2]:.1f} mm): small bleeds may be averaged away."
        if spacing[2] > THICK_MM
        else ""
    )


def _density(hu: np.ndarray, brain: np.ndarray) -> str:
    median = float(np.median(hu[brain]))
    if MEDIAN_HU[0] <= median <= MEDIAN_HU[1]:
        return ""
    return (
        f"HU out of range: half of the brain is above {median:.0f} HU, expected from {MEDIAN_HU[0]:.0f} to "
        f"{MEDIAN_HU[1]:.0f}."
    )


def _contrast(hu: np.ndarray, brain: np.ndarray, spacing: np.ndarray) -> str:
    """Vessels are bright all over the brain; looking at its inner, upper part avoids bone and its blur."""
    levels = np.flatnonzero(brain.any((0, 1)))
    inner = brain.copy()
    inner[:, :, : levels[len(levels) // 2]] = False
    for axis, mm in enumerate(spacing[:2]):  # 15 mm off the mask's edge, along the two axes of a slice
        step = round(15 / float(mm))
        inner = inner & np.roll(brain, step, axis) & np.roll(brain, -step, axis)
    values = hu[inner]
    if not values.size:
        return ""
    share = float(((values > VESSEL_HU[0]) & (values < VESSEL_HU[1])).mean())
    if share < VESSEL_SHARE:
        return ""
    return (
        f"Contrast agent suspected: {100 * share:.1f} % of the inner brain is between {VESSEL_HU[0]:.0f} and "
        f"{VESSEL_HU[1]:.0f} HU, brighter than blood; the models know scans without contrast only."
    )


def _metal(hu: np.ndarray, brain: np.ndarray) -> str:
    count = int((hu[brain] >= DENSE_HU).sum())
    return (
        f"Metal inside the skull ({count} voxels of {DENSE_HU:.0f} HU and more): streaks may look like blood."
        if count
        else ""
    )


def _symmetry(score: float | None) -> str:
    if score is None:
        return "No symmetry plane was found: sides and midline shift are not given."
    if score < LOW_SCORE:
        return (
            f"Low symmetry score ({score:.2f}, expected {LOW_SCORE} and more): sides and midline "
            f"shift are doubtful."
        )
    return ""
