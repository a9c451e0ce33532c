"""Soft tissue outside the skull: skin, fat and muscle, and the hematoma that a blow leaves there."""

from __future__ import annotations

import numpy as np
import torch

from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.anatomy import Anatomy
from tools.phantom.anatomy.distances import refine
from tools.phantom.anatomy.findings import box_around
from tools.phantom.anatomy.prepare import PreparedMap
from tools.phantom.anatomy.traits import Traits

__all__ = ["add_scalp_hematoma", "with_scalp"]

#: Share of people with a hematoma of the scalp: common after trauma, and no intracranial blood.
SHARE = 0.2
SOFT = (L.SKIN, L.FAT, L.MUSCLE)


def with_scalp(prepared: PreparedMap, traits: Traits) -> torch.Tensor:
    """Labels of the map whose soft tissue is skin, fat of the person's thickness, and muscle below."""
    shape = tuple(prepared.labels.shape)
    below, above = refine(prepared.skin, shape), refine(prepared.bone, shape)
    kind = torch.full_like(prepared.labels, L.MUSCLE)
    # The first voxel inside is 2 mm from the last outside on the grid on which distances are measured.
    kind[(below < 4.2 + traits.fat) & (above > 1.2)] = L.FAT
    kind[below <= 4.2] = L.SKIN
    return torch.where(L.is_in(prepared.labels, (L.SOFT, L.SKIN)), kind, prepared.labels)


def add_scalp_hematoma(
    anatomy: Anatomy, rng: np.random.Generator, noise: torch.Tensor, share: float = SHARE
) -> list[str]:
    """Lift the skin over a hematoma of 35 to 80 HU between it and the skull; changes `anatomy`.

    Args:
        anatomy: the head.
        rng: random numbers.
        noise: (x, y, z) texture of unit variance, which makes the hematoma uneven.
        share: of people who have one.
    """
    if rng.random() >= share:
        return []
    height, radius = float(rng.uniform(4, 20)), float(rng.uniform(16, 45))
    value, uneven = float(rng.uniform(38, 74)), float(rng.uniform(2, 9))
    above = anatomy.depth < -4
    low, high = (int(part * anatomy.shape[2]) for part in (0.4, 0.85))
    above[..., :low] = above[..., high:] = False  # neither the face nor the vertex
    places = ((anatomy.labels == L.SKIN) & above & (anatomy.depth > -25)).nonzero()
    if not len(places):
        return []
    at = places[int(rng.integers(len(places)))]
    around = tuple(slice(max(0, int(i) - 5), int(i) + 6) for i in at)
    thickness = -float(anatomy.depth[around][anatomy.labels[around] == L.SKIN].min())  # of the scalp there
    center = at.numpy() + anatomy.affine[:3, 3]
    box = box_around(anatomy, center, 2 * radius)
    if box is None:
        return []
    squared = sum(
        ((torch.arange(s.start, s.stop) - int(middle)).float() / radius).view(view) ** 2
        for s, middle, view in zip(box, at, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True)
    )
    lift = height * torch.exp(-squared)
    labels, hu, out = anatomy.labels[box], anatomy.hu[box], -anatomy.depth[box]
    free = L.is_in(labels, (L.AIR, *SOFT)) & (out > 3) & (lift > 0.5)
    beneath = thickness - 1 + lift - out  # mm below the lifted skin
    tissue = beneath.clamp(0, 1) * free
    skin = torch.full_like(hu, anatomy.tissue.muscle + 5)
    blood = value + uneven * noise[box]
    # Blood fills the middle of the swelling; towards its edge, and where it is thin, what was there stays.
    filled = (beneath - 2.5).clamp(0, 1) * (3 * lift / height - 0.6).clamp(0, 1)
    inside = torch.where(L.is_in(labels, SOFT), hu, skin)
    inside = inside + (blood - inside) * filled
    hu += (inside - hu) * tissue
    labels[(tissue > 0.5) & (labels == L.AIR)] = L.SKIN
    labels[(tissue * filled) > 0.5] = L.MUSCLE
    return ["scalp hematoma"]
