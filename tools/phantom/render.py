"""From shapes to voxels: the points of a slice are classified, coloured and averaged over its thickness."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tools.phantom.bleed import Bleed, Site
from tools.phantom.brain import Brain
from tools.phantom.confounders import Confounders
from tools.phantom.cranium import AIR, Cranium, cavity, ears, skin
from tools.phantom.fields import Lattice, bump, cover, paint
from tools.phantom.masses import Intraparenchymal
from tools.phantom.person import Person
from tools.phantom.skull_base import Place, base_hu

#: Points of the coarse grid on which volumes are calibrated, in normalised mm.
COARSE = 3.0


@dataclass
class Scene:
    """One head with all that is in it, ready to be evaluated at any point."""

    person: Person
    noise: Lattice  # fine, mid, long, and three components of a displacement
    brain: Brain
    cranium: Cranium
    confounders: Confounders
    bleeds: list[Bleed]
    up: tuple[float, float, float]  # against gravity, in head coordinates

    def warped(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Points moved by the head's own asymmetry, and the noise there: x, y, z, fine, mid, long."""
        fine, mid, long, u, v, w = self.noise(x, y, z)
        size = self.person.warp
        # The hemispheres differ, but the falx between them stays almost flat.
        side = x * x / (x * x + 500)
        return x + size * u * side, y + size * v, z + size * w, fine, mid, long

    def site(
        self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, depth: torch.Tensor, fine: torch.Tensor,
        mid: torch.Tensor, long: torch.Tensor, bleeds: list[Bleed],
    ) -> tuple[Site, tuple[torch.Tensor, ...]]:  # fmt: skip
        """Anatomy at points inside the skull after the mass effect of `bleeds`, and where it came from."""
        qx, qy, qz = x, y, z
        for bleed in bleeds:
            moved = bleed.push(x, y, z, depth)
            if moved is not None:
                qx, qy, qz = qx + moved[0], qy + moved[1], qz + moved[2]
        # Tissue that had to move is under pressure: fluid leaves it.
        squeeze = ((qx - x) ** 2 + (qy - y) ** 2 + (qz - z) ** 2 + 1e-6).sqrt()
        spaces = self.brain.spaces(qx, qy, qz, depth, squeeze, fine, mid, long)
        height = self.up[0] * x + self.up[1] * y + self.up[2] * z
        return Site(x, y, z, spaces, height, fine, mid, long), (qx, qy, qz)

    def calibrate(self, ml: float, device: torch.device) -> None:
        """Give every bleed its volume, outer layers first; `ml` is the volume of 1 normalised mm³ in mL."""
        axes = [torch.arange(-r, r + 1, COARSE, device=device) for r in (75, 93, 90)]
        x, y, z = (p.flatten() for p in torch.meshgrid(*axes, indexing="ij"))
        x, y, z, fine, mid, long = self.warped(x, y, z)
        depth = -cavity(x.abs(), y, z, self.person)
        inside = (depth > -COARSE / 2).nonzero()[:, 0]
        x, y, z, fine, mid, long, depth = (p[inside] for p in (x, y, z, fine, mid, long, depth))
        used = torch.zeros_like(x)
        layers = [b for b in self.bleeds if b.name in ("edh", "sdh")]
        site, _ = self.site(x, y, z, depth, fine, mid, long, [])
        for bleed in layers:
            bleed.calibrate(site, used, ml * COARSE**3, 1.5)
            used = used + (1 - used) * bleed.share(site, 1.5)
        if len(layers) < len(self.bleeds):
            site, _ = self.site(x, y, z, depth, fine, mid, long, self.bleeds)
            for bleed in self.bleeds[len(layers) :]:
                bleed.calibrate(site, used, ml * COARSE**3, 1.5)
                used = used + (1 - used) * bleed.share(site, 1.5)

    def outside(
        self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, gap: torch.Tensor, to_skin: torch.Tensor,
        fine: torch.Tensor, mid: torch.Tensor, h: float,
    ) -> torch.Tensor:  # fmt: skip
        """HU of bone, scalp and face; `gap` is the distance from the cavity."""
        a = x.abs()
        low = -14 - 34 * ((-y - 35) / 20).clamp(0, 1)
        weight = ((z - low) / 6).clamp(0, 1)
        hu = torch.zeros_like(x)
        top = (weight > 0).nonzero()[:, 0]
        tx, ty, tz, ta, tg, ts, tf, tm = (p[top] for p in (x, y, z, a, gap, to_skin, fine, mid))
        thickness = self.cranium.skull_thickness(ta, ty, tz, tm)
        value = self.cranium.vault_hu(tg, thickness, ts, tf, tm, h)
        bone = cover(tg - thickness, h)
        value = paint(value, self.confounders.in_bone(value, tx, ty, tz, tm, h), bone)
        value = self.confounders.in_scalp(value, tx, ty, tz, tg - thickness, -ts, h)
        hu[top] = value * weight[top]
        base = (weight < 1).nonzero()[:, 0]
        by, bz, ba, bg, bs, bf, bm = (p[base] for p in (y, z, a, gap, to_skin, fine, mid))
        hu[base] += base_hu(Place(ba, by, bz, bg, -bs, bf, bm, h), self.person) * (1 - weight[base])
        return hu

    def inside(
        self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, depth: torch.Tensor, fine: torch.Tensor,
        mid: torch.Tensor, long: torch.Tensor, h: float,
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:  # fmt: skip
        """HU, share of ventricle, and share of each bleed at points inside the skull."""
        site, (qx, qy, qz) = self.site(x, y, z, depth, fine, mid, long, self.bleeds)
        hu = self.brain.hu(qx, qy, qz, site.spaces, fine, mid, long, h)
        hu = self.confounders.in_brain(hu, site, qx, qy, qz, h)
        tissue = cover(-site.spaces.pia, h) * cover(-site.spaces.ventricle, h)
        for bleed in self.bleeds:
            if isinstance(bleed, Intraparenchymal):
                dark = torch.minimum(hu, torch.full_like(hu, bleed.oedema) + 2 * mid)
                hu = paint(hu, dark, bleed.oedema_share(site) * tissue)
        used, shares = torch.zeros_like(hu), []
        for bleed in self.bleeds:
            share = bleed.share(site, h) * (1 - used)
            hu = hu + (bleed.value(site) - hu) * share
            used = used + share
            shares.append(share)
        return hu, cover(site.spaces.ventricle, h) * cover(-depth, h), shares

    def __call__(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, h: float) -> torch.Tensor:
        """Everything at 1-D points in normalised head mm.

        Returns:
            (6 + number of bleeds, N): HU, share of head, share of cavity, share of ventricle, mm below
            the inner table, weight of the band between the petrous ridges, share of each bleed.
        """
        p = self.person
        out = torch.zeros((6 + len(self.bleeds), x.numel()), device=x.device)
        out[0], out[4] = AIR, -40.0
        rough = torch.minimum(skin(x.abs(), y, z, p.skull + p.scalp + 20, p.back), ears(x.abs(), y, z) - 8)
        head = (rough < 0).nonzero()[:, 0]
        x, y, z, fine, mid, long = self.warped(x[head], y[head], z[head])
        a = x.abs()
        thickness = p.skull * 0.95 + p.scalp + self.confounders.swelling(x, y, z) + 0.4 * long
        to_skin = torch.minimum(skin(a, y, z, thickness, p.back), ears(a, y, z))
        gap = cavity(a, y, z, p)
        hu = torch.zeros_like(x)
        outer = (gap > -h).nonzero()[:, 0]
        hu[outer] = self.outside(*(t[outer] for t in (x, y, z, gap, to_skin, fine, mid)), h)
        inner = (gap < h).nonzero()[:, 0]
        brain_hu, ventricle, shares = self.inside(*(t[inner] for t in (x, y, z, -gap, fine, mid, long)), h)
        hu[inner] = paint(hu[inner], brain_hu, cover(gap[inner], h))
        skin_share = cover(to_skin, h)
        out[0, head] = paint(torch.full_like(hu, AIR), hu, torch.maximum(skin_share, cover(gap, h)))
        out[1, head] = skin_share
        out[2, head] = cover(gap, h)
        out[3, head[inner]] = ventricle
        out[4, head] = -gap
        out[5, head] = bump(((y + 16) / 16) ** 2, ((z + 38) / 15) ** 2, (a / 48) ** 4)
        for row, share in enumerate(shares):
            out[6 + row, head[inner]] = share
        return out
