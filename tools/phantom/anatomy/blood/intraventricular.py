"""Intraventricular hemorrhage: sediment with a level in each ventricle, or a cast."""

from __future__ import annotations

import numpy as np
import torch

from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.blood.bleed import Bleed
from tools.phantom.anatomy.blood.site import Site, length, noise

#: Parts that have a level of their own.
LEFT_PART, RIGHT_PART = (4, 5, 31, 136, 137), (43, 44, 63, 163, 164)


class Intraventricular(Bleed):
    """Blood in ventricles.

    Args:
        rng: random numbers.
        source: (3,) in the box, where a parenchymal bleed breaks in; None for blood without a known source.
        side: that source's side, or 0.
    """

    name = "ivh"
    most = 45.0

    def __init__(
        self, rng: np.random.Generator, source: torch.Tensor | None = None, side: float = 0.0
    ) -> None:
        super().__init__(rng)
        self.source = source
        self.sign = side or float(rng.choice([-1, 1]))
        self.cast = bool(rng.random() < (0.55 if source is not None else 0.3)) and self.volume > 1
        self.one_sided = float(rng.choice([0.0, 3.0, 9.0, 30.0], p=[0.35, 0.25, 0.2, 0.2]))
        self.third = float(rng.choice([rng.uniform(-4, 6), 40.0]))
        self.fourth = float(rng.choice([rng.uniform(-25, -4), 40.0]))
        self.sharp = float(rng.choice([rng.uniform(0.6, 1.5), rng.uniform(2, 5)]))
        self.ripple = float(rng.uniform(0.2, 1.0)) * self.sharp
        self.lumps = float(rng.uniform(3, 9))
        self.dilation = float(rng.uniform(0, 3.0)) * min(1.0, self.volume / 15)
        self.spot = float(rng.uniform(-26, 26)), float(rng.uniform(0.0, 0.8))

    def room(self, labels: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
        return (used < 1) & L.is_in(labels, L.VENTRICLES)

    def level(self, site: Site, generator: torch.Generator) -> torch.Tensor:
        """mm (N,), smaller fills first."""
        left, right = L.is_in(site.labels, LEFT_PART), L.is_in(site.labels, RIGHT_PART)
        other = left if self.sign > 0 else right
        extra = self.one_sided * other
        extra = extra + self.third * (site.labels == L.THIRD) + self.fourth * (site.labels == L.FOURTH)
        if not self.cast:
            height = site.height - site.height.min()
            return height + extra + self.ripple * noise(site.points, 14.0, generator)
        center = self.source
        if center is None:
            y, z = self.spot
            mni = site.mni
            away = (
                (mni[0] - self.sign * 14) ** 2 + (mni[1] - y + 5) ** 2 + (mni[2] - 15 * z) ** 2 + 1
            ).sqrt()
        else:
            away = length(site.points - center[:, None])
        sink = 0.25 * (site.height - site.height.min())
        return away * 0.8 + sink + extra + self.lumps * noise(site.points, 18.0, generator)

    def fill(self, site: Site, free: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self.levels = level = self.level(site, generator)
        soft = 1.0 if not self.cast else self.soft

        def share(limit: torch.Tensor) -> torch.Tensor:
            return (0.5 - (level - limit) / soft).clamp(0, 1) * free

        self.volume = min(self.volume, 0.85 * float(free.sum()) / 1000)
        return self.reach(share, -60.0, 400.0)

    def value(self, site: Site, share: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        hu = super().value(site, share, generator)
        if self.cast:
            return hu
        # Red cells settle: dense below, paler towards the level.
        inner = (self.limit - self.levels).clamp_min(0)
        return hu - 10 * torch.exp(-inner / (2 * self.sharp))

    def summary(self) -> dict[str, object]:
        return super().summary() | {"form": "cast" if self.cast else "level"}
