"""Brain inside the skull: where parenchyma ends and fluid begins, then grey, white and deep nuclei.

One distance decides everything: `pia`, the depth in mm below the nearest surface that fluid touches (outer
surface, sulci, fissures, insula, cisterns, tentorium). Fluid is where it is negative, cortex the first 3 mm.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from tools.phantom.cranium import posterior_fossa, ridge
from tools.phantom.fields import Lattice, bump, capsule, cover, ellipsoid, paint, smax, smin
from tools.phantom.person import Person
from tools.phantom.ventricles import ventricle_distance

#: Cerebral cortex in mm.
CORTEX = 3.0


@dataclass
class Spaces:
    """Distances in mm at a set of points, all negative inside the thing they are named after."""

    depth: torch.Tensor  # below the inner table, positive inside the skull
    pia: torch.Tensor  # below the nearest pial surface, positive in parenchyma
    ventricle: torch.Tensor
    infra: torch.Tensor  # below the tentorium
    falx: torch.Tensor  # from the sheet's middle
    tentorium: torch.Tensor  # from the sheet's middle, large where there is no sheet
    stem: torch.Tensor
    bowl: torch.Tensor  # the posterior fossa without the petrous bones


def tentorium_height(a: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Height z of the tentorium: a tent with its apex behind the midbrain, fixed to the petrous ridges."""
    return 5 - 0.33 * a - 0.5 * (y + 48).clamp_min(0) - 0.35 * (-48 - y).clamp_min(0)


def brain_stem(a: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Midbrain, pons, medulla and cord."""
    tegmentum = capsule(a * 0.85, y, z, (0, -15, 3, 10), (0, -16, -12, 11))
    peduncle = capsule(a, y, z, (13, -5, 6, 6), (7, -6, -12, 7))
    midbrain = smin(tegmentum, peduncle, 2)
    pons = capsule(a * 0.8, y, z, (0, -15, -20, 12), (0, -18, -33, 12))
    medulla = capsule(a, y, z, (0, -20, -38, 9), (0, -28, -62, 6.5))
    cord = capsule(a, y, z, (0, -27, -62, 6.5), (0, -33, -110, 5))
    return smin(smin(smin(midbrain, pons, 4), medulla, 4), cord, 2)


def sheet(distance: torch.Tensor, beyond: torch.Tensor) -> torch.Tensor:
    """Distance to a sheet that ends where `beyond` turns positive, as a rounded edge."""
    return (distance**2 + beyond.clamp_min(0) ** 2 + 1e-3).sqrt()


def smallest(*distances: torch.Tensor) -> torch.Tensor:
    """Least of several distances."""
    return functools.reduce(torch.minimum, distances)


def insula(
    a: torch.Tensor,
    y: torch.Tensor,
    z: torch.Tensor,
    fine: torch.Tensor,
    mid: torch.Tensor,
    width: torch.Tensor,
) -> torch.Tensor:
    """Distance to the fluid over the insula and in the sylvian fissure, which opens it to the side."""
    core = ellipsoid(a - 14, y - 3, z - 4, 25.5, 32, 27) + 1.5 * fine
    beyond = ((y - 4).abs() - 24).clamp_min(0) + ((z - 3).abs() - 15).clamp_min(0) + (30 - a).clamp_min(0)
    over = sheet(core, beyond) - width * (0.6 + 0.5 * mid + 0.3 * fine)
    slope = (z + 3 + 0.42 * (y - 8)) * 0.9 + 1.5 * mid
    beyond = (37 - a).clamp_min(0) + ((y - 2).abs() - 32).clamp_min(0)
    return torch.minimum(over, sheet(slope, beyond) - width * (0.75 + 0.02 * (a - 40)))


def cisterns(
    a: torch.Tensor, y: torch.Tensor, z: torch.Tensor, stem: torch.Tensor, mid: torch.Tensor, atrophy: float
) -> torch.Tensor:
    """Distance to the suprasellar, sylvian, quadrigeminal and ambient cisterns."""
    size = 1 + 0.6 * atrophy
    suprasellar = ellipsoid(a, y - 4, z + 13, 11 * size, 9.5 * size, 7.5)
    stalk = capsule(a, y, z, (9, 9, -12, 1.6 * size), (33, 12, -5, 1.0 * size))
    plate = ellipsoid(a, y + 29, z - 1, 8 + 3 * atrophy, 5 * size, 7)
    ambient = smax(stem - 1.3 * size - 0.5 * mid, (z + 6).abs() - 9, 3)
    return smallest(smin(suprasellar, stalk, 3), plate, ambient)


class Brain:
    """Evaluates one brain at points in normalised head coordinates.

    Args:
        person: its numbers.
        sulci: 2-channel field, signed distances to sheets along the rays from the centre.
        swelling: share by which sulci and cisterns are closed, 0 to 1.
        hydrocephalus: factor on the ventricles.
    """

    def __init__(
        self, person: Person, sulci: Lattice, swelling: float = 0.0, hydrocephalus: float = 1.0
    ) -> None:
        self.person, self.sulci = person, sulci
        self.open, self.hydrocephalus = 1 - swelling, hydrocephalus

    def spaces(
        self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, depth: torch.Tensor, squeeze: torch.Tensor,
        fine: torch.Tensor, mid: torch.Tensor, long: torch.Tensor,
    ) -> Spaces:  # fmt: skip
        """Distances at anatomical points; `fine`, `mid`, `long` are noise of 10, 25, 60 mm wavelength.

        `squeeze` is how far in mm the tissue has been displaced.
        """
        p, a = self.person, x.abs()
        open_ = self.open * torch.exp(-squeeze / 6)
        line = ridge(a, y)
        stem = brain_stem(a, y, z)
        height = tentorium_height(a, y)
        infra = smax(z - height, line + 1, 4)
        bowl = posterior_fossa(a, y, z)
        ventricle = ventricle_distance(x, y, z, p, self.hydrocephalus) + 0.35 * squeeze.clamp_max(8)

        # Outer surface: fluid is deeper over an old brain's frontal and parietal lobes.
        surface = depth - (p.subarachnoid * (0.75 + 0.25 * mid + 0.3 * (y > 0)) * open_ + 0.4).clamp_min(0.3)
        # Fissure between the hemispheres, above and around the corpus callosum.
        callosum = (((y + 3) / 43) ** 2 + ((z - 4) / 24) ** 2 + 1e-4).sqrt() * 24 - 24
        falx = (x + p.bend * long).abs()
        front = ((y - 20) / 40).clamp(0, 1)
        fissure = sheet(falx, -callosum) - p.fissure * (0.4 + front + 0.35 * mid) * (open_ + 0.2)

        cerebrum = smallest(
            surface,
            infra - 0.9,
            fissure,
            self.folds(x, y, z, depth, fine, mid, open_),
            insula(a, y, z, fine, mid, (p.sulci * 1.7 + 0.2) * open_),
            cisterns(a, y, z, stem, mid, p.atrophy) + 2.2 * (1 - open_),
        )
        # The hemispheres of the cerebellum reach forward only beside the pons.
        forward = torch.maximum(-y - 20, torch.minimum(12 - stem, -y - 11))
        vallecula = ellipsoid(a, y + 54, z + 68, 7 + 4 * p.atrophy, 16, 12)
        ripple = torch.sin(1.25 * bowl + 3 * mid + 0.8 * fine)
        folia = 4.5 - 2.0 * p.atrophy + 2.5 * ripple + 0.12 * depth
        cerebellum = smallest(-line - 2.5, forward, -infra - 0.9, surface + 0.3, vallecula, folia)
        pia = torch.maximum(cerebrum, cerebellum)
        pia = torch.maximum(pia, torch.minimum(-stem, depth - 1.5 - 0.8 * p.atrophy))

        far = torch.full_like(z, 50.0)
        tent = ((z - height).abs() + 0.02 * depth.clamp_max(50)) * 0.85
        tent = torch.where((stem > 7) & (line < 0), tent, far)
        falx = torch.where((callosum > 9) & (z > height - 2), falx, far)
        return Spaces(depth, pia, ventricle, infra, falx, tent, stem, bowl)

    def folds(
        self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, depth: torch.Tensor, fine: torch.Tensor,
        mid: torch.Tensor, open_: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Distance to the sulci: sheets along rays from the centre, some deep, more of them shallow."""
        ratio = (x * x + y * y + (z + 4) ** 2 + 1.0).sqrt() / 70
        wiggle = (x + 2.5 * fine * torch.tanh(x / 5), y - 2.0 * mid, z + 4 + 2.5 * fine)
        deep, shallow = self.sulci(*(c / ratio for c in wiggle))
        base = 1 - 0.65 * ((2 - z) / 20).clamp(0, 1)  # shallow under the temporal lobes
        width = (self.person.sulci * (1 + 0.45 * mid + 0.35 * fine) * open_).clamp_min(0.02)
        deep = sheet(deep * ratio, depth - (15 + 3.5 * mid) * base) - width * (1.1 - 0.02 * depth)
        shallow = sheet(shallow * ratio, depth - (9 + 3 * mid) * base) - width * (0.9 - 0.03 * depth)
        return torch.minimum(deep, shallow)

    def hu(
        self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, s: Spaces,
        fine: torch.Tensor, mid: torch.Tensor, long: torch.Tensor, h: float,
    ) -> torch.Tensor:  # fmt: skip
        """HU of a brain without lesions; `h` is the width in mm over which tissues blend."""
        p, a = self.person, x.abs()
        white = p.white + 1.2 * mid + 0.8 * long
        grey = p.grey + 1.2 * mid + 0.8 * fine
        # Old white matter is darker around the ventricles, most of all at the tips of the horns.
        near = s.ventricle.clamp_min(0)
        tips = bump(((y - 2).abs() - 36) ** 2 / 500.0)
        rim = bump((near / 11) ** 2) * (0.35 + 0.65 * tips) + 0.3 * bump((near / 22) ** 2)
        white = white - p.leukoaraiosis * rim * (1 + 0.3 * mid)
        hu = paint(white, grey, cover(s.pia - CORTEX - 1.1 * mid - 0.5 * fine, 2.2))

        nuclei = (
            ellipsoid(a - 12.5 - 0.12 * (y - 18), y - 18, z - 8, 4.8, 10, 9),
            ellipsoid((a - 24) * 0.94 + (y - 5) * 0.30, (y - 5) * 0.94 - (a - 24) * 0.30, z - 4, 6.5, 16, 9),
            ellipsoid((a - 11) * 0.9 - (y + 9) * 0.35, (y + 9) * 0.9 + (a - 11) * 0.35, z - 6, 7.5, 13, 9),
        )
        for nucleus in nuclei:
            hu = paint(hu, grey - 0.8, cover(nucleus + 0.8 * mid, 2.6))

        # Cerebellum: fine folia around a brighter core; stem in between grey and white.
        below = cover(s.infra, 2.0)
        stripes = torch.sin(s.bowl * 1.25 + 3 * mid + 0.8 * fine)
        folia = p.grey - 2.0 + 1.3 * stripes + 0.8 * fine
        core = ellipsoid(a - 17, y + 47, z + 32, 15, 14, 10)
        folia = paint(folia, p.white + 2.5, cover(core + 1.5 * stripes, 4.0))
        hu = paint(hu, folia, below)
        hu = paint(hu, 0.45 * p.grey + 0.55 * p.white + 0.4 * fine, cover(s.stem, 2.0))

        fluid = p.csf + 0.6 * mid
        hu = paint(hu, fluid, cover(s.pia, h))
        hu = paint(hu, fluid - 1, cover(s.ventricle, h))

        # Sheets and vessels.
        tent = smax(s.tentorium - 0.4, -(s.depth - 0.5), 0.5)
        hu = paint(hu, p.falx, 0.55 * cover(tent, max(h, 0.8)))
        hu = paint(hu, p.falx, 0.6 * cover(s.falx - 0.2, max(h, 0.8)))
        hu = paint(hu, p.falx, 0.35 * cover((s.depth - 0.3).abs() - 0.4, max(h, 0.8)))
        tip = (s.depth - 1) * 0.55 + a
        sagittal = smax(tip - 3.6, torch.where(y < 25, -z - 6, 60 - z), 3)
        sinuses = torch.minimum(sagittal, capsule(a, y, z, (0, -31, 4, 1.8), (0, -78, -9, 2.4)))
        around = smax((z - tentorium_height(a, y)).abs() - 3.2, s.depth - 4.2, 1)
        around = smax(around, torch.maximum(y + 38, 6 - a), 2)
        sinuses = torch.minimum(sinuses, around)
        hu = paint(hu, p.sinus, 0.9 * cover(sinuses, h))
        vessels = smin(
            capsule(a, y, z, (0, 1.5, -36, 1.6), (0, 1, -16, 1.8)),
            capsule(a, y, z, (10, 8, -14, 1.7), (31, 12, -6, 1.2)),
            1,
        )
        vessels = torch.minimum(vessels, capsule(a, y, z, (3, 16, -12, 1.0), (1.5, 34, 2, 0.9)))
        return paint(hu, p.artery, 0.85 * cover(vessels, h))
