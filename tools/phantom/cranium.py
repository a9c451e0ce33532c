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
