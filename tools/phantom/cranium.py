"""The inside of the skull, the skin around the head, and all that lies between them.

Shapes are given in normalised mm (an average adult), with a = |x|: the undeformed head is mirror-symmetric
and only the fields make it differ from side to side. Slices of a head posed straight run parallel to the
orbitomeatal line: orbits, temporal poles and posterior fossa share slices.
"""

from __future__ import annotations

import torch

from tools.phantom.fields import bump, capsule, cover, ellipsoid, paint, smax, smin
from tools.phantom.person import Person

AIR = -1000.0


def vault(a: torch.Tensor, y: torch.Tensor, z: torch.Tensor, back: float) -> torch.Tensor:
    """Inner table of the vault, egg-shaped and boxier than an ellipsoid; not yet cut off at the base."""
    h = z - 4
    u = (a / (68 * (1 - back * y / 80))) ** 2
    v = (y / torch.where(y > 0, 79.0, 84.0)) ** 2
    w = (h / torch.where(h > 0, 69.0, 82.0)) ** 2
    ratio = 0.62 * (u + v + w) + 0.38 * (u * u + v * v + w * w).sqrt() + 1e-4
    return (a * a + y * y + h * h + 1e-2).sqrt() * (1 - ratio.rsqrt())


def ridge(a: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Signed distance to the vertical plane along the petrous ridge: positive in the middle fossa."""
    blunt = (a * a + 90.0).sqrt() - 9.5
    return 0.70 * blunt + 0.714 * y - 3.0


def posterior_fossa(a: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Bowl that holds the cerebellum, before the petrous bones cut into it."""
    return ellipsoid(a, y + 39, z + 34, 57, 42, 37)


def cavity(a: torch.Tensor, y: torch.Tensor, z: torch.Tensor, person: Person) -> torch.Tensor:
    """Distance to the inside of the skull: three fossae and the canal of the foramen magnum."""
    floor = -21 + 8 * bump(((a - 34) / 15) ** 2, ((y - 66) / 24) ** 2)
    front = smax(vault(a, y, z, person.back), floor - z, 8)
    gap = ((-23 - z) * 0.4).clamp(-5, 8) * (0.25 + 0.75 * (a / 26).clamp_max(1))
    line = ridge(a, y)
    temporal = smax(ellipsoid(a - 35, y - 3, z + 20, 28, 41, 26), gap - line, 5)
    back = smax(posterior_fossa(a, y, z), line + gap, 14)
    canal = smax((a * a + (y + 31 - 0.15 * (z + 70)) ** 2 + 1e-2).sqrt() - 12.5, z + 60, 6)
    whole = smin(smin(smin(front, temporal, 7), back, 6), canal, 5)
    # Crests on the inside of the frontal and the occipital bone.
    crest = torch.minimum(
        capsule(a, y, z, (0, 85, -14, 6), (0, 84, 28, 3)),
        capsule(a, y, z, (0, -88, -2, 6.5), (0, -80, -48, 5)),
    )
    return smax(whole, 1.0 - crest, 5)


def skin(
    a: torch.Tensor, y: torch.Tensor, z: torch.Tensor, thickness: torch.Tensor | float, back: float
) -> torch.Tensor:
    """Distance to the outside of the head, without ears; `thickness` is that of skull and scalp together."""
    top = vault(a, y, z, back) - thickness
    occiput = posterior_fossa(a, y, z) - thickness
    neck = 1 - 0.14 * ((-62 - z) / 45).clamp(0, 1)
    nape = ellipsoid(a, y + 48, z + 96, 60, 53, 62)
    width = 71 * (1 - 0.10 * (y - 4) / 84) * neck
    r = ((a / width) ** 2 + ((y - 4) / (83 * neck)) ** 2 + 1e-4).sqrt()
    face = smax((r - 1) * 74, z + 16, 30)
    nose = capsule(a, y, z, (0, 84, -22, 7), (0, 101, -52, 11))
    return smin(smin(smin(smin(top, occiput, 10), nape, 12), face, 14), nose, 9)


def ears(a: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Distance to two thin cups."""
    lean = a - 70 + 0.55 * (y + 14)
    cup = ellipsoid(lean, y + 20, z + 38, 9, 13, 27).abs() - 1.4
    return smax(cup, 1 - lean, 2)


class Cranium:
    """HU of everything outside the brain."""

    def __init__(self, person: Person) -> None:
        self.person = person

    def skull_thickness(
        self, a: torch.Tensor, y: torch.Tensor, z: torch.Tensor, mid: torch.Tensor
    ) -> torch.Tensor:
        """Thickness of the vault's bone in mm: thick at the front and back, thin at the temples."""
        shape = (
            0.88
            + 0.3 * (y / 80) ** 2
            - 0.3 * bump(((a - 66) / 16) ** 2, ((y - 12) / 30) ** 2, ((z + 8) / 26) ** 2)
        )
        return self.person.skull * shape * (1 + 0.06 * mid)

    def vault_hu(
        self, depth: torch.Tensor, thickness: torch.Tensor, outside: torch.Tensor, fine: torch.Tensor,
        mid: torch.Tensor, h: float,
    ) -> torch.Tensor:  # fmt: skip
        """Two tables and diploe, then galea, fat and skin; `depth` counts outwards from the inner table."""
        p = self.person
        scalp = -outside  # distance below the skin
        total = (scalp + depth - thickness).clamp_min(1.0)
        hu = torch.full_like(depth, 38.0)
        fat = 0.45 * p.fat * total
        strands = (fine.abs() - 0.12) * 6
        hu = paint(hu, -95 + 12 * fine, cover(torch.maximum((scalp - 1.8 - fat).abs() - fat, -strands), h))
        hu = paint(hu, 52.0, cover(scalp - 2.3, h))
        inner = depth - 1.6 - 0.25 * fine.abs()
        outer = thickness - depth - 1.9
        diploe = (p.diploe + 170 * fine + 90 * mid).clamp(250, 1150)
        table = p.bone + 60 * mid
        bone = paint(table, diploe, cover(-torch.minimum(inner, outer), 1.2))
        return paint(hu, bone, cover(depth - thickness, h))

    def base_hu(
        self, x: torch.Tensor, a: torch.Tensor, y: torch.Tensor, z: torch.Tensor, gap: torch.Tensor,
        outside: torch.Tensor, fine: torch.Tensor, mid: torch.Tensor, h: float,
    ) -> torch.Tensor:  # fmt: skip
        """Skull base, face and neck; `gap` is the distance to the cavity, `outside` that to the skin."""
        p = self.person
        # Muscle bellies parted by fat, skin and fat under it.
        hu = 56 + 4 * fine
        hu = paint(hu, -60.0, 0.8 * cover((mid + 0.15 * fine).abs() - 0.10, 0.15))
        hu = paint(hu, -85.0, cover(1.0 - mid - 0.15 * fine, 0.3))
        below = -outside
        hu = paint(hu, -95 + 10 * fine, cover((below - 1.8 - 2.2 * p.fat).abs() - 2.2 * p.fat, h))
        hu = paint(hu, 40.0, cover(below - 1.8, h))

        marrow = (620 + 260 * fine + 120 * mid).clamp(200, 1400)
        # Shell of the base around the fossae, thin over the orbits.
        thin = bump(((a - 30) / 18) ** 2, ((y - 52) / 26) ** 2)
        shell = gap - (4.2 - 2.0 * thin + 1.1 * mid)
        hu = paint(hu, marrow, cover(shell, h))
        hu = paint(hu, p.bone * 0.9, cover((gap - 0.9).abs() - 0.9, h))

        # Body of the sphenoid with its sinus, and the wings to both sides.
        hu = paint(hu, marrow, cover(ellipsoid(a, y - 12, z + 30, 15, 20, 13), h))
        wing = capsule(a, y, z, (12, 26, -19, 4.5), (56, 36, -10, 4.0))
        hu = paint(hu, p.bone * 0.8, cover(wing, h))
        great = capsule(a, y, z, (24, 36, -32, 3.5), (54, 32, -36, 4.5))
        hu = paint(hu, p.bone * 0.75, cover(great, h))

        # Petrous pyramids, dense, with the inner ear; mastoid cells behind the canal.
        line = ridge(a, y)
        pyramid = smax(line.abs() - (9 + 0.12 * (a - 10)), (z + 37).abs() - 15, 5)
        pyramid = smax(pyramid, (a - 36).abs() - 29, 4)
        hu = paint(hu, p.bone + 250 + 120 * fine, cover(pyramid, h))
        cells = ellipsoid(a - 54, y + 26, z + 46, 11, 15, 19)
        hu = paint(hu, marrow + 350, cover(smax(cells, -below + 6, 3) - 3, h))
        comb = (
            torch.sin(0.9 * a + 3 * fine + y / 4)
            * torch.sin(1.1 * y + 3 * mid - z / 5)
            * torch.sin(0.9 * z + 3 * fine + a / 3)
        ).abs()
        foam = smax(cells, 3 * (0.5 - 0.42 * p.pneumatised - comb), 0.5)
        hu = paint(hu, -750.0, cover(smax(foam, -below + 8, 2), h))
        canal = capsule(a, y, z, (38, -12, -46, 2.6), (80, -17, -46, 3.4))
        hu = paint(hu, p.bone * 0.7, cover(smax(canal - 2, a - 64, 2), h))
        hu = paint(hu, AIR, cover(canal, h))

        # Orbits: fat, muscles, nerve, globe with lens.
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

        # Air spaces: ethmoid cells, nose, sphenoid, frontal and maxillary sinuses, each in a thin wall.
        septa = (fine + 0.6 * torch.sin(y * 0.5 + mid)).abs() - 0.16
        ethmoid = smax((a - 6.5).abs() - 5.0, smax((y - 56).abs() - 21, (z + 34).abs() - 13, 4), 3)
        hu = paint(hu, 450.0, cover(ethmoid - 1.0, h))
        hu = paint(hu, -850.0, cover(smax(ethmoid, -6 * septa, 1), h))
        spaces = (
            (ellipsoid(a - 8, y - 18, z + 33, 7.5, 12, 8), 1.3),
            (
                ellipsoid(
                    a - 9 - 2 * mid, y - 83, z + 15, 9 * p.pneumatised + 3, 4.0, 13 * p.pneumatised + 3
                ),
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

        # Cheek bone, jaw, teeth's roots, first vertebra.
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
        # Lids and the rest of the skin close what was cut open above.
        return paint(hu, 45.0, cover(below - 2.0, h) * (canal > 0.5))
