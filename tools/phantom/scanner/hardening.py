"""Hardened beam: bone takes the soft rays out, so rays that crossed bone read too low.

The reconstruction of that error is a bright rim of some millimetres to centimetres inside the skull,
most where the bone is thick and close all round (the vertex), and dark bands and streaks between the petrous
ridges. Scanners correct it to a different degree. Form and numbers were measured as the difference of two
reconstructions of one head, with and without correction (`benchmarks/measure_scanner.py`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tools.phantom.scanner.projections import SIDE, filtered_back_projection, pool

#: HU where tissue ends and bone begins.
BONE_HU = 100.0

#: HU above it that count at most: metal would be unbounded.
MOST_DENSE = 9000.0

#: HU cm of reading lost per cm² of bone path times water path, and of bone path squared: Toshiba FC30
#: less FC63.
LOSS = (-6.2, 38.6)

#: HU from the 5th to the 95th percentile of the error in soft tissue, at most; 22 and 31 in two real heads.
MOST_SPREAD = 31.0

#: cm of bone path beyond which nothing more is lost; the measured head reaches 5.5.
LONGEST = 8.0


def materials(hu: torch.Tensor, spacing: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Water and bone of the slices on the coarse grid, (side², Z) each, and its pixel in cm.

    Water is 1 in water; bone is 1 where it is 1000 HU denser than tissue.

    Args:
        hu: (X, Y, Z).
        spacing: pixel size in mm.
    """
    pixel = (hu.shape[0] * hu.shape[1] * spacing[0] * spacing[1]) ** 0.5 / SIDE / 10
    bone = torch.where(hu > BONE_HU, (hu - BONE_HU).clamp_max(MOST_DENSE), 0.0) / 1000
    water = (hu.clamp(-1000.0, BONE_HU) + 1000) / 1000
    return pool(water), pool(bone), pixel


def beside_bone(error: torch.Tensor, bone: torch.Tensor) -> torch.Tensor:
    """The error in tissue carried on to the bone beside it.

    Bone itself reads far too low; on a coarse grid that would darken the tissue next to it.
    """
    side = round(error.shape[0] ** 0.5)
    weight = torch.exp(-bone / 0.02).clamp_min(1e-6).T.reshape(-1, 1, side, side)
    values = error.T.reshape(-1, 1, side, side) * weight
    kernel = torch.tensor([0.05, 0.25, 0.4, 0.25, 0.05], device=error.device)
    kernel = (kernel[:, None] * kernel)[None, None]
    near = F.conv2d(values, kernel, padding=2) / F.conv2d(weight, kernel, padding=2)
    mixed = torch.where(weight > 0.5, error.T.reshape_as(near), near)
    return mixed.reshape(-1, side * side).T


def hardening_error(
    water: torch.Tensor, bone: torch.Tensor, bone_map: torch.Tensor, pixel: float
) -> torch.Tensor:
    """HU that a hardened beam adds (side², Z) without any correction.

    Args:
        water, bone: line integrals (views, rays, Z) in cm.
        bone_map: (side², Z), see `materials`.
        pixel: of the coarse grid, in cm.
    """
    mixed, square = LOSS
    bone = bone.clamp_max(LONGEST)
    lost = bone * (mixed * water + square * bone)
    return beside_bone(filtered_back_projection(-lost, pixel), bone_map)


def calibrated(error: torch.Tensor, water_map: torch.Tensor, bone_map: torch.Tensor) -> torch.Tensor:
    """The error (side², Z) less its median in soft tissue: scanners are set so that brain reads right.

    Heads whose bone is denser and thicker than the measured one would get a rim that no scanner shows: from
    `MOST_SPREAD` HU between the darkest and the brightest tissue on, the error is made smaller.
    """
    tissue = error[(bone_map < 0.02) & (water_map > 0.95)]
    if len(tissue) < 20:
        return error
    low, middle, high = torch.quantile(tissue, torch.tensor([0.05, 0.5, 0.95], device=error.device))
    return (error - middle) * (MOST_SPREAD / (high - low).clamp_min(MOST_SPREAD))
