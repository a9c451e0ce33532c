"""Intraparenchymal hematoma and traumatic contusion."""

from __future__ import annotations

import numpy as np
import torch

from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.blood.bleed import Bleed
from tools.phantom.anatomy.blood.site import Site, from_mni, length, noise, radius_of, smoothstep
from tools.phantom.anatomy.blood.spaces import Spaces

#: Labels among which the middle lies, most mL, how often. Deep, lobar, brain stem and cerebellum: 49, 35, 5
#: and 11 % in whites (Flaherty et al., Stroke 2005); within the deep ones putamen to thalamus about 2 to 1.
PLACES = {
    "basal ganglia": ((12, 13, 51, 52, 11, 50), 110.0, 0.33),
    "thalamus": (L.THALAMUS, 30.0, 0.15),
    "lobar": ((*L.WHITE, *L.CORTEX), 120.0, 0.36),
    "cerebellum": (L.CEREBELLUM, 35.0, 0.10),
    "pons": ((L.BRAIN_STEM,), 8.0, 0.06),
}

#: Contusions lie where brain meets rough bone, |x|, y, z in atlas mm: orbital surface of the frontal lobe,
#: temporal pole, and elsewhere on the surface (Pittella and Gusmão 1999; Osborn's Brain, 2017).
CONTUSIONS = {
    "frontal base": ((8, 34), (30, 62), (-22, -6), 0.42),
    "temporal pole": ((34, 54), (-2, 20), (-38, -16), 0.34),
    "temporal side": ((56, 66), (-45, 0), (-22, 4), 0.12),
    "convexity": ((20, 60), (-70, 50), (20, 62), 0.12),
}


def unit(vector: np.ndarray) -> np.ndarray:
    """Vector of length 1."""
    return vector / np.linalg.norm(vector)


class Intraparenchymal(Bleed):
    """One irregular mass, or the cluster of a contusion, with the dark rim of edema.

    Args:
        rng: random numbers.
        spaces: the head, in whose tissue the middle is chosen.
        contusion: whether the bleed is traumatic.
        into_ventricle: whether it breaks into a ventricle; it then lies deep.
    """

    name = "iph"

    def __init__(
        self, rng: np.random.Generator, spaces: Spaces, contusion: bool = False, into_ventricle: bool = False
    ) -> None:
        self.contusion = contusion
        if contusion:
            places, weights = list(CONTUSIONS), [place[3] for place in CONTUSIONS.values()]
            self.most = 45.0
        else:
            places, weights = list(PLACES), [place[2] for place in PLACES.values()]
            if into_ventricle and rng.random() < 0.7:
                places, weights = places[:2], [0.5, 0.5]
        self.place = str(rng.choice(places, p=np.array(weights) / sum(weights)))
        if not contusion:
            self.most = PLACES[self.place][1]
        super().__init__(rng)
        self.center = self.choose_contusion(rng, spaces) if contusion else self.choose(rng, spaces)
        self.radius = radius_of(self.volume)
        stretch = np.exp(rng.normal(0, 0.25, 3))
        if self.place == "basal ganglia":
            stretch *= (0.72, 1.4, 1.0)  # along the external capsule
        turn, _ = np.linalg.qr(np.eye(3) + rng.normal(0, 0.25, (3, 3)))
        self.shape = (turn * (stretch.prod() ** (1 / 3) / stretch)) @ turn.T
        self.bend = float(rng.uniform(-0.012, 0.02))
        #: Share of the radius by which its surface is bent at three scales.
        self.elastic = float(rng.uniform(0.10, 0.42)) * (1.5 if contusion else 1.0)
        self.rough = float(rng.uniform(0.05, 0.22)) * (1.8 if contusion else 1.0)
        count = int(rng.integers(2, 8)) if contusion else int(rng.choice([0, 0, 0, 1, 2, 3]))
        reach = 1.9 if contusion else 1.15
        self.lobes = [
            (unit(rng.normal(size=3)), float(rng.uniform(0.7, reach)), float(rng.uniform(0.25, 0.65)))
            for _ in range(count)
        ]
        self.smooth = 0.6 if contusion else 0.25
        old = self.age.days > 1.5
        rim = rng.uniform(2.5, 8) if old or contusion else rng.uniform(0.6, 3.5)
        self.rim = float(rim) * min(1.0, 0.3 + self.radius / 16)
        self.edema_strength = float(rng.uniform(0.5, 1.0))
        spot = Site(spaces, self.center[:, None], torch.zeros(3, device=spaces.device))
        if not self.below:
            self.sign = float(torch.sign(spot.side[0])) or 1.0
            self.shift = float(rng.uniform(0.03, 0.11))
        self.stiff = float(rng.uniform(0.45, 0.95))
        self.level_at = float(rng.uniform(-0.4, 0.4)) if rng.random() < 0.07 and self.volume > 8 else None
        if self.contusion:
            self.soft = float(rng.uniform(1.5, 3.0))

    def choose(self, rng: np.random.Generator, spaces: Spaces) -> torch.Tensor:
        """(3,) a random voxel, in the box, of the labels of its place."""
        numbers = PLACES[self.place][0]
        labels = spaces.labels[spaces.box]
        inside = (L.is_in(labels, numbers) & spaces.cavity).nonzero()
        if not inside.numel():  # a map without deep structures: any tissue
            inside = (L.is_in(labels, L.PARENCHYMA) & spaces.cavity).nonzero()
        picks = inside[torch.as_tensor(rng.integers(0, len(inside), 64), device=inside.device)].T.float()
        site = Site(spaces, picks, torch.tensor([0.0, 1.0, 0.0], device=picks.device))
        mni, need = site.mni, 0.75 * radius_of(self.volume)
        # A big mass keeps its middle away from the skull, a lobar one from the ventricles too.
        short = (need + 4 - site.depth).clamp_min(0)
        if self.place == "lobar":
            short = (
                short + (6 + 0.6 * need - site.ventricle).clamp_min(0) + 0.2 * (site.depth - 34).clamp_min(0)
            )
        if self.place == "pons":
            short = 2 * (mni[2] + 32).abs() + mni[0].abs() + 2 * (mni[1] + 26).clamp_min(0)
        if self.place == "basal ganglia":
            short = short + (20 - mni[0].abs()).clamp_min(0) * 0.5
        short = short + torch.as_tensor(rng.uniform(0, 6, 64), device=short.device)
        return picks[:, short.argmin()]

    def choose_contusion(self, rng: np.random.Generator, spaces: Spaces) -> torch.Tensor:
        """(3,) a place in the box just below the skull."""
        x, y, z, _ = CONTUSIONS[self.place]
        sign = float(rng.choice([-1, 1]))
        spots = [
            from_mni(spaces, (sign * rng.uniform(*x), rng.uniform(*y), rng.uniform(*z))) for _ in range(32)
        ]
        picks = torch.stack(spots, 1)
        site = Site(spaces, picks, torch.tensor([0.0, 1.0, 0.0], device=picks.device))
        best = (site.depth - (5 + 0.5 * radius_of(self.volume))).abs() + 20 * (site.tent > 0)
        return picks[:, best.argmin()]

    @property
    def below(self) -> bool:
        """Whether it lies under the tentorium."""
        return self.place in ("cerebellum", "pons")

    def velocity(self, site: Site) -> torch.Tensor | None:
        if self.radius < 5:
            return None
        away = site.points - self.center[:, None]
        r = length(away) + 1e-3
        core = 0.75 * self.radius
        # A source of fluid: the volume it brings in moves all around it outwards.
        speed = self.stiff * self.radius**3 / 3 / torch.maximum(r, torch.full_like(r, core)) ** 2
        speed = speed * (r / core).clamp_max(1) * torch.exp(-((r / 70) ** 2))
        return -away / r * speed * smoothstep(site.depth, -2, 12)

    def room(self, labels: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
        return (used < 1) & ~L.is_in(labels, (*L.VENTRICLES, L.SINUS, *L.DURA))

    def near(self, site: Site) -> torch.Tensor:
        return length(site.points - self.center[:, None]) < self.extent + 4

    @property
    def extent(self) -> float:
        """mm from the middle beyond which nothing of it lies, edema included."""
        return 2.1 * self.radius + self.rim * 1.6 + 8

    def level(self, site: Site, generator: torch.Generator) -> torch.Tensor:
        """mm (N,), smaller fills first."""
        p = site.points - self.center[:, None]
        size = max(self.radius, 2.0)
        bend = torch.stack([noise(site.points, size * 2.4, generator) for _ in range(3)])
        fold = torch.stack([noise(site.points, size * 1.1, generator) for _ in range(3)])
        p = p + size * self.elastic * (0.8 * bend + 0.35 * fold)
        p = torch.stack((p[0] + self.bend * p[1] ** 2, p[1], p[2]))
        matrix = torch.as_tensor(self.shape, dtype=torch.float32, device=p.device)
        level = length(matrix @ p)
        for direction, distance, ratio in self.lobes:
            offset = torch.as_tensor(direction, dtype=torch.float32, device=p.device)
            lobe = length(p - offset[:, None] * (self.radius * distance)) + self.radius * (1 - ratio)
            k = self.radius * self.smooth * 0.5 + 0.3
            level = torch.minimum(level, lobe) - (k - (level - lobe).abs()).clamp_min(0) ** 2 / (4 * k)
        level = level + size * self.rough * noise(site.points, size * 0.7 + 2, generator)
        level = level + 0.5 * noise(site.points, 5.0, generator) * min(1.0, size / 4)
        # Sulci resist, and so do cortex a little, the skull, the other hemisphere and the other compartment.
        level = level + 3.0 * L.is_in(site.labels, (L.CSF,)) + 0.6 * L.is_in(site.labels, L.CORTEX)
        level = level + 1.6 * (2.0 - site.depth).clamp_min(0)
        tent = site.tent if self.below else -site.tent
        level = level + 3 * (1.5 - tent).clamp_min(0) * (0 if self.place == "pons" else 1)
        if not self.below:
            level = level + 2 * (2.0 - site.side * self.sign).clamp_min(0)
        return level

    def fill(self, site: Site, free: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self.levels = level = self.level(site, generator)
        near = length(site.points - self.center[:, None])
        own = free * (near < self.extent - 1)
        soft = min(self.soft, 0.5 + 0.4 * self.radius)

        def share(limit: torch.Tensor) -> torch.Tensor:
            return (0.5 - (level - limit) / soft).clamp(0, 1) * own

        return self.reach(share, -30.0, 120.0)

    def edema(self, site: Site, generator: torch.Generator) -> torch.Tensor:
        """Share (N,) of the dark rim, before blood is painted over it."""
        rim = self.rim * (1 + 0.35 * noise(site.points, 16.0, generator)).clamp_min(0.2)
        share = (1 - (self.levels - self.limit) / (rim + 1.0)).clamp(0, 1)
        share = share * share * (3 - 2 * share)
        tissue = L.is_in(site.labels, L.PARENCHYMA).float()
        grey = L.is_in(site.labels, L.GREY)
        return share * self.edema_strength * tissue * (1 - 0.45 * grey)

    def value(self, site: Site, share: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        hu = super().value(site, share, generator)
        inner = (self.limit - self.levels).clamp_min(0)
        # It loses its brightness from the rim inwards.
        fall = min(12.0, self.age.days * 1.2 + 1.5)
        hu = hu - fall * (1 - inner / (0.45 * self.radius + 1)).clamp(0, 1) * (
            0.0 if self.radius < 4 else 1.0
        )
        if self.level_at is not None:
            hu = hu - 14 * torch.sigmoid((site.height - self.middle_height(site)) / 1.5)
        if self.contusion:
            hu = hu - 6 * noise(site.points, 5.0, generator).clamp_min(0)
        return hu

    def middle_height(self, site: Site) -> torch.Tensor:
        """Height of the level inside, a scalar tensor."""
        spot = Site(site.spaces, self.center[:, None], site.up)
        return spot.height[0] + self.level_at * self.radius

    def summary(self) -> dict[str, object]:
        return super().summary() | {"place": self.place, "contusion": self.contusion}
