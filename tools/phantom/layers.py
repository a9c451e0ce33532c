"""Epidural and subdural hemorrhage: layers between brain and bone, given as thickness over direction."""

from __future__ import annotations

import numpy as np
import torch

from tools.phantom.bleed import Bleed, Site, unit
from tools.phantom.brain import tentorium_height
from tools.phantom.fields import Points, bump, cover

#: Height in mm of the point from which directions are counted.
CENTRE = 4.0


class Layer(Bleed):
    """Blood along the inner table: `profile` is the relative thickness, `limit` its peak in mm."""

    side: float
    direction: np.ndarray

    def profile(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Relative thickness, 0 to about 1, at the points' directions."""
        raise NotImplementedError

    def cosine(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Cosine of the angle between the points and the layer's centre."""
        d, h = self.direction, z - CENTRE
        return (d[0] * x + d[1] * y + d[2] * h) * (x * x + y * y + h * h + 1.0).rsqrt()

    def level(self, site: Site) -> torch.Tensor:
        profile = self.profile(site.x, site.y, site.z)
        return torch.where(
            profile > 0.04, site.depth / profile.clamp_min(0.04), torch.full_like(profile, 1e3)
        )

    def share(self, site: Site, h: float) -> torch.Tensor:
        thickness = self.profile(site.x, site.y, site.z) * self.limit
        inner = cover(site.depth - thickness, h) * (thickness > 0.3)
        return inner * self.room(site, h)

    def room(self, site: Site, h: float) -> torch.Tensor:
        return cover(-site.depth, h) * (site.x * self.side > 1.5)

    def push(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, depth: torch.Tensor) -> Points:
        thickness = self.profile(x, y, z) * self.limit
        h = z - CENTRE
        inverse = (x * x + y * y + h * h + 100.0).rsqrt()
        fade = thickness * torch.exp(-(depth - thickness).clamp_min(0) / 22)
        bulk = 0.45 * self.limit * bump((x * x + y * y + h * h) / 58**2)
        d = self.direction
        return (
            x * inverse * fade + float(d[0]) * bulk,
            y * inverse * fade + 0.3 * float(d[1]) * bulk,
            h * inverse * fade + 0.3 * float(d[2]) * bulk,
        )


class Epidural(Layer):
    """A lens that stops at the sutures."""

    name = "edh"

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.side = float(rng.choice([-1, 1]))
        place = rng.choice(["temporal", "parietal", "frontal", "occipital"], p=[0.45, 0.3, 0.17, 0.08])
        y, z = {
            "temporal": (rng.uniform(-15, 15), rng.uniform(-8, 12)),
            "parietal": (rng.uniform(-35, 0), rng.uniform(25, 50)),
            "frontal": (rng.uniform(55, 75), rng.uniform(0, 40)),
            "occipital": (rng.uniform(-85, -70), rng.uniform(-15, 10)),
        }[str(place)]
        self.part = str(place)
        self.direction = unit((self.side * (58 if place in ("temporal", "parietal") else 34), y, z - CENTRE))
        # Half-width of the lens on the skull, about 2.3 times its thickness.
        width = (2 * self.volume * 1000 / (0.44 * np.pi)) ** (1 / 3)
        self.angle = float(np.clip(width / 72, 0.12, 1.15))

    def profile(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        angle = torch.acos(self.cosine(x, y, z).clamp(-1, 1))
        lens = (1 - (angle / self.angle) ** 2).clamp_min(0)
        coronal, lambdoid = y - 35 + 0.18 * z, y + 48 + 0.45 * (z + 10)
        edge = {"frontal": coronal, "occipital": -lambdoid}.get(self.part, torch.minimum(-coronal, lambdoid))
        edge = torch.minimum(edge, x * self.side - 2)
        return lens * (edge / 7).clamp(0, 1)


class Subdural(Layer):
    """A crescent over one hemisphere, fresh to isodense, at times with a layer along falx or tentorium."""

    name = "sdh"

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.side = float(rng.choice([-1, 1]))
        self.direction = unit((self.side * 55, rng.uniform(-35, 35), rng.uniform(5, 45)))
        # A typical peak thickness for the volume; the cap's area follows, and varies.
        self.volume = max(self.volume, 1.0)
        peak = 2.2 + 0.75 * self.volume**0.5
        cap = self.volume * 1000 / (2 / 3 * peak * 2 * np.pi * 72**2)
        self.angle = float(np.clip(np.arccos(1 - min(cap, 0.9)) * rng.uniform(0.85, 1.5), 0.15, 1.5))
        self.sheet_center = float(rng.uniform(-50, 20)), float(rng.uniform(25, 50))
        self.where = str(rng.choice(["convexity", "falx", "tentorium", "both"], p=[0.72, 0.08, 0.05, 0.15]))
        self.ragged = float(rng.uniform(0.05, 0.3))
        age = rng.choice(["acute", "mixed", "isodense"], p=[0.6, 0.22, 0.18])
        if age == "isodense":
            self.hu = float(rng.uniform(34, 42))
        self.settles = float(rng.uniform(8, 18)) if age == "mixed" else 0.0
        if self.where in ("falx", "tentorium"):
            self.volume = min(self.volume, 25.0)

    def profile(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        edge = float(np.cos(self.angle))
        crescent = ((self.cosine(x, y, z) - edge) / (1 - edge)).clamp_min(0).sqrt()
        wave = 1 + self.ragged * torch.sin(y / 9 + z / 13) * torch.sin(z / 11 - x / 17)
        edge = torch.minimum(x * self.side - 1, (z + 26) * 0.5)
        return (
            crescent * wave * (edge / 6).clamp(0, 1) * (0.0 if self.where in ("falx", "tentorium") else 1.0)
        )

    def sheets(self, site: Site) -> torch.Tensor:
        """Level of the layers along falx and tentorium: mm from the sheet on this side."""
        s = site.spaces
        beside = site.x * self.side
        y, z = self.sheet_center
        away = 1 + ((site.y - y) / 24) ** 2 + ((site.z - z) / 20) ** 2
        falx = torch.where((s.falx < 49) & (beside > 0), s.falx * away, 1e3)
        height = tentorium_height(site.x.abs(), site.y)
        away = 1 + ((beside - 30) / 20) ** 2 + ((site.y + 45) / 22) ** 2
        tent = torch.where((s.tentorium < 49) & (site.z > height) & (beside > 4), s.tentorium * away, 1e3)
        if self.where == "falx":
            return falx
        return tent if self.where == "tentorium" else torch.minimum(falx, tent) * 2.5

    def level(self, site: Site) -> torch.Tensor:
        crescent = super().level(site)
        return crescent if self.where == "convexity" else torch.minimum(crescent, self.sheets(site))

    def room(self, site: Site, h: float) -> torch.Tensor:
        return cover(-site.depth, h) * (site.x * self.side > 0.3) * (site.spaces.ventricle > 2)

    def share(self, site: Site, h: float) -> torch.Tensor:
        share = super().share(site, h)
        if self.where == "convexity":
            return share
        return torch.maximum(share, cover(self.sheets(site) - self.limit, h) * self.room(site, h))

    def value(self, site: Site) -> torch.Tensor:
        settled = self.settles * (torch.tanh(site.height / 25) + 0.5 * site.mid)
        return super().value(site) - settled if self.settles else super().value(site)

    def push(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, depth: torch.Tensor) -> Points | None:
        return None if self.where in ("falx", "tentorium") else super().push(x, y, z, depth)
