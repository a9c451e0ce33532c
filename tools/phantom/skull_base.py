"""Skull base, face and neck: painted in layers from soft tissue to bone to air.

Each function paints one group of things over what is there. Shapes are in normalised mm with a = |x|.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tools.phantom.cranium import AIR, ridge
from tools.phantom.fields import bump, capsule, cover, ellipsoid, paint, smax, smin
from tools.phantom.person import Person


@dataclass
class Place:
    """Points outside the cavity, and what the painters ask about them."""

    a: torch.Tensor  # |x|
    y: torch.Tensor
    z: torch.Tensor
    gap: torch.Tensor  # mm from the cavity
    below: torch.Tensor  # mm below the skin
    fine: torch.Tensor
    mid: torch.Tensor
    h: float  # width in mm over which materials blend

    @property
    def marrow(self) -> torch.Tensor:
        """HU of spongy bone."""
        return (620 + 260 * self.fine + 120 * self.mid).clamp(200, 1400)


def base_hu(at: Place, person: Person) -> torch.Tensor:
    """HU of everything outside the cavity below the vault."""
    hu = 56 + 4 * at.fine
    for layer in (soft_tissue, fossae_and_sphenoid, petrous_bone, orbits, air_spaces, face_and_neck_bones):
        hu = layer(hu, at, person)
    # Lids and the rest of the skin close what was cut open above.
    return paint(hu, 45.0, cover(at.below - 2.0, at.h) * (ear_canal(at) > 0.5))


def ear_canal(at: Place) -> torch.Tensor:
    """Distance to the outer ear's canal."""
    return capsule(at.a, at.y, at.z, (38, -12, -46, 2.6), (80, -17, -46, 3.4))


def soft_tissue(hu: torch.Tensor, at: Place, person: Person) -> torch.Tensor:
    """Muscle bellies parted by fat, skin and fat under it."""
    below, fine, mid, h, p = at.below, at.fine, at.mid, at.h, person
    hu = paint(hu, -60.0, 0.8 * cover((mid + 0.15 * fine).abs() - 0.10, 0.15))
    hu = paint(hu, -85.0, cover(1.0 - mid - 0.15 * fine, 0.3))
    hu = paint(hu, -95 + 10 * fine, cover((below - 1.8 - 2.2 * p.fat).abs() - 2.2 * p.fat, h))
    hu = paint(hu, 40.0, cover(below - 1.8, h))
    return hu


def fossae_and_sphenoid(hu: torch.Tensor, at: Place, person: Person) -> torch.Tensor:
    """Shell of bone around the fossae, thin over the orbits; body and wings of the sphenoid."""
    a, y, z = at.a, at.y, at.z
    gap, mid, h, p = at.gap, at.mid, at.h, person
    thin = bump(((a - 30) / 18) ** 2, ((y - 52) / 26) ** 2)
    shell = gap - (4.2 - 2.0 * thin + 1.1 * mid)
    hu = paint(hu, at.marrow, cover(shell, h))
    hu = paint(hu, p.bone * 0.9, cover((gap - 0.9).abs() - 0.9, h))

    hu = paint(hu, at.marrow, cover(ellipsoid(a, y - 12, z + 30, 15, 20, 13), h))
    wing = capsule(a, y, z, (12, 26, -19, 4.5), (56, 36, -10, 4.0))
    hu = paint(hu, p.bone * 0.8, cover(wing, h))
    great = capsule(a, y, z, (24, 36, -32, 3.5), (54, 32, -36, 4.5))
    hu = paint(hu, p.bone * 0.75, cover(great, h))
    return hu


def petrous_bone(hu: torch.Tensor, at: Place, person: Person) -> torch.Tensor:
    """Dense petrous pyramids, mastoid cells behind the ear canal."""
    a, y, z = at.a, at.y, at.z
    below, fine, mid, h, p = at.below, at.fine, at.mid, at.h, person
    line = ridge(a, y)
    pyramid = smax(line.abs() - (9 + 0.12 * (a - 10)), (z + 37).abs() - 15, 5)
    pyramid = smax(pyramid, (a - 36).abs() - 29, 4)
    hu = paint(hu, p.bone + 250 + 120 * fine, cover(pyramid, h))
    cells = ellipsoid(a - 54, y + 26, z + 46, 11, 15, 19)
    hu = paint(hu, at.marrow + 350, cover(smax(cells, -below + 6, 3) - 3, h))
    comb = (
        torch.sin(0.9 * a + 3 * fine + y / 4)
        * torch.sin(1.1 * y + 3 * mid - z / 5)
        * torch.sin(0.9 * z + 3 * fine + a / 3)
    ).abs()
    foam = smax(cells, 3 * (0.5 - 0.42 * p.pneumatised - comb), 0.5)
    hu = paint(hu, -750.0, cover(smax(foam, -below + 8, 2), h))
    canal = ear_canal(at)
    hu = paint(hu, p.bone * 0.7, cover(smax(canal - 2, a - 64, 2), h))
    hu = paint(hu, AIR, cover(canal, h))
    return hu


def orbits(hu: torch.Tensor, at: Place, person: Person) -> torch.Tensor:
    """Orbits: fat, muscles, nerve, globe with lens."""
    a, y, z = at.a, at.y, at.z
    gap, below, h, p = at.gap, at.below, at.h, person
    orbit = smax(capsule(a, y, z, (12, 28, -28, 4), (31, 62, -32, 19)), (gap - 2.6) * -1, 3)
    hu = paint(hu, p.bone * 0.8, cover(smax(orbit.abs() - 1.4, -below + 5, 2), h))
    hu = paint(hu, -92.0, cover(smax(orbit, -below + 5, 2), h))
    for side, height in ((12, 0), (-12, 0), (0, 11), (0, -11)):
        rod = capsule(a, y, z, (11, 28, -27, 1.4), (30 + side, 64, -32 + height, 2.6))
        hu = paint(hu, 52.0, cover(rod, h))
    hu = paint(hu, 38.0, cover(capsule(a, y, z, (9, 26, -25, 2.0), (30, 58, -32, 2.0)), h))
    globe = ellipsoid(a - 31, y - 71, z + 32, 12, 12, 12)
    hu = paint(hu, 58.0, cover(globe, h))
    hu = paint(hu, 9.0, cover(globe + 1.7, h))
    hu = paint(hu, 75.0, cover(ellipsoid(a - 31, y - 79.5, z + 32, 4.6, 2.2, 4.6), h))
    return hu


def air_spaces(hu: torch.Tensor, at: Place, person: Person) -> torch.Tensor:
    """Ethmoid cells, sphenoid, frontal and maxillary sinuses and the nose, each in a thin wall; throat."""
    a, y, z = at.a, at.y, at.z
    below, fine, mid, h, p = at.below, at.fine, at.mid, at.h, person
    septa = (fine + 0.6 * torch.sin(y * 0.5 + mid)).abs() - 0.16
    ethmoid = smax((a - 6.5).abs() - 5.0, smax((y - 56).abs() - 21, (z + 34).abs() - 13, 4), 3)
    hu = paint(hu, 450.0, cover(ethmoid - 1.0, h))
    hu = paint(hu, -850.0, cover(smax(ethmoid, -6 * septa, 1), h))
    spaces = (
        (ellipsoid(a - 8, y - 18, z + 33, 7.5, 12, 8), 1.3),
        (
            ellipsoid(a - 9 - 2 * mid, y - 83, z + 15, 9 * p.pneumatised + 3, 4.0, 13 * p.pneumatised + 3),
            1.5,
        ),
        (ellipsoid(a - 29, y - 58, z + 64, 14, 17, 15), 1.3),
        (smax(ellipsoid(a - 6, y - 62, z + 66, 5.0, 34, 20), 1.4 - a, 1), 0.8),
    )
    for space, wall in spaces:
        hu = paint(hu, p.bone * 0.7, cover(space - wall, h))
        hu = paint(hu, AIR + 20, cover(space, h))
    nose = capsule(a, y, z, (0, 84, -22, 6), (0, 99, -51, 9))
    hu = paint(hu, 38.0, cover(smax(nose, 84 - y, 3), h) * (below > 0))
    bridge = smax((capsule(a, y, z, (0, 80, -20, 5), (0, 92, -38, 6))).abs() - 0.5, 86 - y, 2)
    hu = paint(hu, p.bone * 0.6, cover(bridge, h))
    turbinate = ellipsoid(a - 6, y - 62, z + 72, 2.2, 22, 5)
    hu = paint(hu, 45.0, cover(turbinate, h))
    hu = paint(hu, AIR, cover(ellipsoid(a, y - 10, z + 84, 9, 8, 22), h))
    return hu


def face_and_neck_bones(hu: torch.Tensor, at: Place, person: Person) -> torch.Tensor:
    """Cheek bone, rim of the orbit, jaw, first vertebra and its tooth."""
    a, y, z = at.a, at.y, at.z
    h, p = at.h, person
    arch = smin(
        capsule(a, y, z, (44, 66, -46, 4.5), (63, 40, -50, 2.6)),
        capsule(a, y, z, (63, 40, -50, 2.6), (66, 8, -47, 2.6)),
        3,
    )
    lateral_rim = capsule(a, y, z, (47, 62, -46, 4), (48, 66, -20, 3.5))
    jaw = smax(ellipsoid(a - 49, y - 8, z + 88, 4.5, 17, 36), z + 52, 3)
    condyle = ellipsoid(a - 51, y - 2, z + 53, 9, 5, 6)
    for bone in (arch, lateral_rim, jaw, condyle):
        hu = paint(hu, p.bone * 0.75, cover(bone, h))
    ring = ((a / 1.25) ** 2 + (y + 30) ** 2 + 1e-2).sqrt()
    atlas = smax((ring - 19.5).abs() - 4.5, (z + 88).abs() - 9, 3)
    hu = paint(hu, p.bone * 0.7, cover(atlas, h))
    hu = paint(hu, p.bone * 0.8, cover(capsule(a, y, z, (0, -10, -120, 6), (0, -10, -80, 5)), h))
    return hu
