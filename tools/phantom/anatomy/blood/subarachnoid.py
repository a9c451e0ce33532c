"""Subarachnoid hemorrhage: blood that spreads from its source through cisterns, fissures and sulci."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.blood.bleed import Bleed
from tools.phantom.anatomy.blood.site import Site, from_mni, noise, sample
from tools.phantom.anatomy.blood.spaces import COARSE

#: Sources, |x|, y, z in atlas mm and how often. Ruptured aneurysms: anterior cerebral 40 %, internal carotid
#: 25, middle cerebral 25, vertebrobasilar 10 (Inagawa, Cerebrovascular Diseases 2010); about 10 % of
#: spontaneous bleeds are perimesencephalic (van Gijn et al., Lancet 2007).
ANEURYSMS = {
    "anterior communicating": ((0, 6, -14), 0.32),
    "pericallosal": ((0, 34, 2), 0.08),
    "internal carotid": ((13, -2, -18), 0.25),
    "middle cerebral": ((38, 2, -12), 0.25),
    "basilar tip": ((0, -15, -20), 0.06),
    "posterior inferior cerebellar": ((14, -40, -48), 0.04),
}
PERIMESENCEPHALIC = (0, -20, -20)


class Subarachnoid(Bleed):
    """Blood mixed with cerebrospinal fluid.

    Args:
        rng: random numbers.
        traumatic: whether it comes with trauma: then it mostly lies in sulci of the convexity.
    """

    name = "sah"
    most = 45.0

    def __init__(self, rng: np.random.Generator, traumatic: bool = False) -> None:
        super().__init__(rng)
        kind = "convexal" if rng.random() < (0.85 if traumatic else 0.3) else "aneurysm"
        if kind == "aneurysm" and rng.random() < 0.1:
            kind = "perimesencephalic"
        self.place = kind
        side = float(rng.choice([-1, 1]))
        if kind == "aneurysm":
            names = list(ANEURYSMS)
            self.place = str(rng.choice(names, p=[ANEURYSMS[name][1] for name in names]))
            x, y, z = ANEURYSMS[self.place][0]
            self.sources = [(side * x, y, z)]
        elif kind == "perimesencephalic":
            self.sources = [PERIMESENCEPHALIC]
            self.volume = min(self.volume, float(rng.uniform(1, 8)))
        else:
            count = int(rng.choice([1, 1, 2, 3]))
            self.sources = [
                (side * rng.uniform(30, 62), rng.uniform(-70, 50), rng.uniform(-5, 60)) for _ in range(count)
            ]
            self.volume = min(self.volume, float(rng.uniform(1, 15)))
        # Mixed with fluid it is paler than a clot: at times no brighter than cortex.
        self.mix = float(rng.uniform(0.55, 1.0)) if self.age.name == "fresh" else 1.0
        self.spread = float(rng.uniform(4, 12))
        self.narrow = float(rng.uniform(0, 14)) * (0.3 if kind == "convexal" else 1.0)
        self.sink = float(rng.uniform(0, 0.25))
        self.soft = float(rng.uniform(2.0, 6.0))

    def room(self, labels: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
        return (used < 1) & (labels == L.CSF)

    def arrival(self, site: Site, fluid: torch.Tensor) -> torch.Tensor:
        """(x/4, y/4, z/4) mm of way through fluid from the sources; brain costs much more."""
        spaces, shape = site.spaces, fluid.shape
        cost = COARSE * (1 + 5 * (1 - fluid).clamp(0, 1) ** 2)
        axes = [torch.arange(n, device=fluid.device, dtype=torch.float32) * COARSE + 1.5 for n in shape]
        away = torch.full(shape, 1e4, device=fluid.device)
        for source in self.sources:
            spot = from_mni(spaces, source)
            near = sum(
                ((axis - c) ** 2).reshape([-1 if a == i else 1 for a in range(3)])
                for i, (axis, c) in enumerate(zip(axes, spot, strict=True))
            ).sqrt()
            away = torch.minimum(away, torch.where(near < 9, near, torch.full_like(near, 1e4)))
        for _ in range(40):
            grown = F.pad(away[None, None], (1,) * 6, value=1e4)[0, 0]
            for axis in range(3):
                n = shape[axis]
                inner = [slice(1, -1)] * 3
                for start in (0, 2):
                    inner[axis] = slice(start, start + n)
                    away = torch.minimum(away, grown[tuple(inner)] + cost)
        return away

    def fill(self, site: Site, free: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        shape = site.spaces.cavity.shape
        dense = torch.zeros(shape, device=free.device).view(-1)
        dense[site.flat] = 1.0
        fluid = F.avg_pool3d(dense.view(1, 1, *shape), COARSE)[0, 0]
        wide = F.avg_pool3d(fluid[None, None], 3, 1, 1)[0]
        away = self.arrival(site, fluid)
        level = sample(away[None], site.points, COARSE)[0]
        level = level + self.spread * (
            noise(site.points, 24.0, generator) + 0.6 * noise(site.points, 10.0, generator)
        )
        level = level + self.narrow * (1 - sample(wide, site.points, COARSE)[0]).clamp(0, 1)
        level = level + self.sink * site.height
        # Blood keeps to fissures and sulci; the layer under the vault belongs to subdural blood.
        level = level + 2.5 * (4.0 - site.depth).clamp_min(0)
        self.levels = level
        thin = 1 - 0.25 * (noise(site.points, 7.0, generator) - 0.3).clamp(0, 1)

        def share(limit: torch.Tensor) -> torch.Tensor:
            return (0.5 - (level - limit) / self.soft).clamp(0, 1) * thin * free

        self.volume = min(self.volume, 0.6 * float(free.sum()) / 1000)
        return self.reach(share, -120.0, 1200.0)

    def value(self, site: Site, share: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        hu = super().value(site, share, generator)
        near = ((self.limit - self.levels) / 20).clamp(0, 1)
        middle = max(36.0, 8 + (self.age.hu - 8) * self.mix)
        hu = hu - (self.age.hu - middle)
        return torch.maximum(hu - 8 * (1 - near), hu.clamp_max(34.0))

    def summary(self) -> dict[str, object]:
        return super().summary() | {"place": self.place}
