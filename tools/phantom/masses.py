"""Intraparenchymal, intraventricular and subarachnoid hemorrhage."""

from __future__ import annotations

import numpy as np
import torch

from tools.phantom.bleed import Bleed, Site, unit
from tools.phantom.fields import Lattice, Points, cover

#: Where intraparenchymal bleeds arise: |x|, y, z ranges in mm, most mL, how often.
PLACES = {
    "putamen": ((22, 32), (-10, 16), (-4, 16), 120.0, 0.38),
    "thalamus": ((9, 15), (-16, -4), (2, 12), 30.0, 0.14),
    "lobar": ((22, 46), (-58, 48), (8, 44), 120.0, 0.26),
    "temporal": ((36, 48), (-20, 22), (-28, -12), 60.0, 0.08),
    "cerebellum": ((6, 28), (-62, -44), (-40, -20), 35.0, 0.10),
    "pons": ((0, 4), (-16, -8), (-30, -18), 6.0, 0.04),
}


class Intraparenchymal(Bleed):
    """An irregular mass with lobes, satellites and an oedema rim that pushes the brain aside."""

    name = "iph"
    fill = 0.6

    def __init__(self, rng: np.random.Generator, texture: Lattice, into_ventricle: bool = False) -> None:
        names = list(PLACES)
        self.place = str(rng.choice(names, p=[PLACES[name][4] for name in names]))
        if into_ventricle and rng.random() < 0.6:
            self.place = str(rng.choice(["thalamus", "putamen"]))
        across, along, up, self.most, _ = PLACES[self.place]
        super().__init__(rng)
        self.texture = texture
        self.side = float(rng.choice([-1, 1]))
        self.center = np.array([self.side * rng.uniform(*across), rng.uniform(*along), rng.uniform(*up)])
        self.radius = (self.volume * 1000 * 3 / (4 * np.pi)) ** (1 / 3)
        # A big mass cannot be centred close to the skull.
        self.center *= 1 - 0.25 * max(0.0, self.radius / 30 - 0.5) * (self.place == "lobar")
        stretch = np.exp(rng.normal(0, 0.22, 3))
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        self.shape = (turn * (stretch.prod() ** (1 / 3) / stretch)) @ turn.T
        self.ragged = float(rng.uniform(0.10, 0.30))
        self.contusion = bool(self.place in ("lobar", "temporal") and rng.random() < 0.25)
        if self.contusion:
            self.ragged, self.hu = 0.5, float(rng.uniform(46, 62))
        self.stiffness = float(rng.uniform(0.35, 0.9))
        self.rim = float(rng.choice([rng.uniform(0.5, 2), rng.uniform(2, 7)])) * min(1.0, self.radius / 12)
        self.oedema = float(rng.uniform(14, 22))
        count = int(rng.integers(0, 5))
        self.satellites = [
            (
                self.center + unit(rng.normal(size=3)) * self.radius * rng.uniform(0.7, 1.25),
                self.radius * rng.uniform(0.2, 0.5),
            )
            for _ in range(count)
        ]

    def level(self, site: Site) -> torch.Tensor:
        dx, dy, dz = (p - float(c) for p, c in zip((site.x, site.y, site.z), self.center, strict=True))
        m = self.shape
        rows = [float(m[i, 0]) * dx + float(m[i, 1]) * dy + float(m[i, 2]) * dz for i in range(3)]
        level = (rows[0] ** 2 + rows[1] ** 2 + rows[2] ** 2 + 0.01).sqrt()
        # The mass carries its own noise whose grain grows with it.
        zoom = (14 / max(self.radius, 3.0)) ** 0.75
        fine, mid, _ = self.texture(dx * zoom + 20, dy * zoom, dz * zoom)[:3]
        for center, radius in self.satellites:
            away = (
                (site.x - float(center[0])) ** 2
                + (site.y - float(center[1])) ** 2
                + (site.z - float(center[2])) ** 2
            )
            level = torch.minimum(level, (away + 0.01).sqrt() + (self.radius - radius))
        return level + self.radius * self.ragged * (0.75 * mid + 0.35 * fine)

    def room(self, site: Site, h: float) -> torch.Tensor:
        s = site.spaces
        side = (
            site.x * self.side if self.place not in ("pons", "cerebellum") else torch.full_like(site.x, 9.0)
        )
        same = (s.infra < 0) if self.place in ("pons", "cerebellum") else ((s.infra > 0) | (s.stem < 0))
        return cover(-s.pia, h) * cover(-s.ventricle, h) * cover(1.5 - s.depth, h) * (side > -1) * same

    def value(self, site: Site) -> torch.Tensor:
        swing = 9.0 if self.contusion else 2.5
        inner = (self.limit - self.level(site)).clamp(0, 6)
        return self.hu - 4 + inner * 0.8 + swing * 0.6 * site.fine + 2.0 * site.mid

    def oedema_share(self, site: Site) -> torch.Tensor:
        """Share of the dark rim around the blood, before blood is painted over it."""
        rim = self.rim * (1 + 0.5 * site.mid)
        return (0.5 - (self.level(site) - self.limit - rim) / (1.5 + 0.4 * self.rim)).clamp(0, 1) * 0.85

    def push(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, depth: torch.Tensor) -> Points:
        dx, dy, dz = (p - float(c) for p, c in zip((x, y, z), self.center, strict=True))
        square = dx * dx + dy * dy + dz * dz + 1.0
        size = self.stiffness * self.radius**3 / (square + self.radius**2)
        factor = -size * square.rsqrt() * (depth / 14).clamp(0, 1)
        return dx * factor, dy * factor, dz * factor


class Intraventricular(Bleed):
    """Blood in the ventricles: settled to a level in the dependent horns, or a cast around its source."""

    name = "ivh"
    most = 60.0

    def __init__(self, rng: np.random.Generator, source: np.ndarray | None = None) -> None:
        super().__init__(rng)
        self.cast = bool(rng.random() < (0.7 if source is not None else 0.45))
        side = float(rng.choice([-1, 1]))
        options = [(side * 8, 15, 10), (side * 20, -30, 15), (0, 0, 5), (0, -34, -32)]
        self.source = np.asarray(
            source if source is not None else options[rng.integers(len(options))], dtype=float
        )
        self.skew = float(rng.normal(0, 6))
        self.offset = float(rng.normal(0, 8)), float(rng.normal(6, 8))
        self.clot = float(rng.uniform(0, 7))

    def level(self, site: Site) -> torch.Tensor:
        if self.cast:
            square = sum(
                (p - float(c)) ** 2 for p, c in zip((site.x, site.y, site.z), self.source, strict=True)
            )
            return (square + 0.01).sqrt() + 5 * site.mid
        infra, third = self.offset
        level = site.height + self.skew * torch.sign(site.x) * (site.x.abs() > 4)
        level = level + infra * (site.spaces.infra < 0) + third * (site.x.abs() < 4)
        return level + 0.12 * self.clot * site.mid

    def room(self, site: Site, h: float) -> torch.Tensor:
        return cover(site.spaces.ventricle, h) * cover(-site.depth, h)

    def value(self, site: Site) -> torch.Tensor:
        if self.cast:
            return super().value(site)
        return super().value(site) - 9 * torch.exp(-((self.limit - self.level(site)).clamp_min(0)) / 4)


class Subarachnoid(Bleed):
    """Blood that takes the place of fluid in cisterns, fissures and sulci around its source."""

    name = "sah"
    most = 50.0
    fill = 0.8

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        side = float(rng.choice([-1, 1]))
        self.aneurysm = bool(rng.random() < 0.6)
        if self.aneurysm:
            options = [(0, 5, -13), (side * 14, 9, -12), (side * 36, 8, -3), (0, 25, -2), (0, -1, -26)]
        else:
            options = [
                (side * rng.uniform(35, 55), rng.uniform(-45, 45), rng.uniform(25, 55)) for _ in range(2)
            ]
        self.source = np.asarray(options[rng.integers(len(options))], dtype=float)
        self.hu = float(rng.uniform(48, 68))
        if not self.aneurysm:
            self.volume = min(self.volume, 12.0)

    def level(self, site: Site) -> torch.Tensor:
        square = sum((p - float(c)) ** 2 for p, c in zip((site.x, site.y, site.z), self.source, strict=True))
        return (square + 0.01).sqrt() + 9 * site.mid

    def room(self, site: Site, h: float) -> torch.Tensor:
        s = site.spaces
        return cover(s.pia - 0.35, h) * cover(0.4 - s.depth, h) * cover(-s.ventricle, h)

    def share(self, site: Site, h: float) -> torch.Tensor:
        return super().share(site, max(h, 3.0))

    def value(self, site: Site) -> torch.Tensor:
        near = ((self.limit - self.level(site)) / 25).clamp(0, 1)
        return self.hu - 10 * (1 - near) + 2 * site.mid
