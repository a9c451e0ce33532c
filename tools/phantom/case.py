"""A synthetic case: exact volumes before the scan, and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from tools.core.tensors import voxel_ml
from tools.phantom.kinds import CLASSES


@dataclass
class Volumes:
    """Exact volumes (X, Y, Z) before the scan; `shares` is (types, X, Y, Z)."""

    hu: torch.Tensor
    head: torch.Tensor
    brain: torch.Tensor
    ventricle: torch.Tensor
    depth: torch.Tensor
    band: torch.Tensor
    shares: torch.Tensor


@dataclass
class PhantomCase:
    """A rendered case; every volume is a MetaTensor (1, X, Y, Z) with the same affine.

    image float32 HU (whole numbers); classes, brain and ventricles uint8; truth plain numbers.
    """

    image: MetaTensor
    classes: MetaTensor
    brain: MetaTensor
    ventricles: MetaTensor
    truth: dict[str, Any]

    @property
    def affine(self) -> torch.Tensor:
        """4x4 float64, voxel to RAS+ mm."""
        return self.image.affine

    def label(self, lesion: Sequence[str]) -> MetaTensor:
        """uint8 0/1 mask of the named hemorrhage types."""
        return binary_label(self.classes, lesion)


def binary_label(classes: MetaTensor, lesion: Sequence[str]) -> MetaTensor:
    """uint8 0/1 mask of the named hemorrhage types among class values."""
    values = torch.tensor([CLASSES[name] for name in lesion], device=classes.device, dtype=torch.uint8)
    mask = torch.isin(classes.as_tensor(), values).to(torch.uint8)
    return MetaTensor(mask, affine=classes.affine)


def finish_case(
    volumes: Volumes,
    image: torch.Tensor,
    types: Sequence[str],
    affine: np.ndarray,
    truth: dict[str, Any],
) -> PhantomCase:
    """Masks where more than half of a voxel is of a kind, and their volumes in the truth.

    Args:
        volumes: exact shares; their `shares` are in the order of `types`.
        image: (X, Y, Z) scanned HU.
        types: hemorrhage types.
        affine: 4x4 voxel-to-world matrix.
        truth: what is known already.
    """
    device, shares = image.device, volumes.shares
    blood = shares.sum(0) > 0.5
    classes = torch.zeros_like(blood, dtype=torch.uint8)
    if types:
        values = torch.tensor([CLASSES[name] for name in types], dtype=torch.uint8, device=device)
        classes[blood] = values[shares[:, blood].argmax(0)]
    brain = (volumes.brain > 0.5) | blood
    ventricles = (volumes.ventricle > 0.5) | (classes == CLASSES["ivh"])

    def wrap(volume: torch.Tensor) -> MetaTensor:
        return MetaTensor(volume[None], affine=torch.as_tensor(affine))

    counts = torch.bincount(classes.flatten().long(), minlength=6).tolist()
    ml = voxel_ml(affine)
    truth = truth | {"volume_ml": {name: counts[value] * ml for name, value in CLASSES.items()}}
    truth |= {"brain_ml": int(brain.sum()) * ml, "ventricles_ml": int(ventricles.sum()) * ml}
    return PhantomCase(
        wrap(image), wrap(classes), wrap(brain.to(torch.uint8)), wrap(ventricles.to(torch.uint8)), truth
    )
