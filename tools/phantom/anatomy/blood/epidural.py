"""Epidural hematoma: a lens between bone and dura that stops at the sutures, a fracture beside it."""

from __future__ import annotations

import numpy as np
import torch

from tools.phantom.anatomy.blood.bleed import Bleed, solve
from tools.phantom.anatomy.blood.site import Site, from_mni, length, noise, sample, smoothstep
from tools.phantom.anatomy.blood.spaces import COARSE, STEP

#: Centre of the head in atlas mm, from which directions are counted.
CENTER = (0.0, -18.0, 12.0)

#: Where the middle of the lens lies, |x|, y, z ranges in atlas mm, and how often: most are temporal or
#: temporo-parietal, 90 to 95 % lie above the tentorium (Osborn's Brain, 2017).
PLACES = {
    "temporal": ((66, 70), (-40, 5), (-22, 12), 0.46),
    "parietal": ((50, 62), (-62, -8), (28, 56), 0.26),
    "frontal": ((28, 48), (38, 60), (0, 40), 0.16),
    "occipital": ((20, 40), (-100, -84), (-6, 24), 0.06),
    "posterior fossa": ((22, 42), (-88, -72), (-52, -30), 0.06),
}


def coronal(mni: torch.Tensor) -> torch.Tensor:
    """mm in front of the coronal suture: a plane from bregma down to the pterion."""
    return mni[1] - 19 - 0.05 * (40 - mni[2])


def lambdoid(mni: torch.Tensor) -> torch.Tensor:
    """mm behind the lambdoid suture: from lambda down to the asterion, then forward below the mastoid."""
    below = (-12 - mni[2]).clamp_min(0)
    return -torch.maximum(mni[1] + 97 - 0.42 * mni[0].abs() - 1.3 * below, mni[2] - 46)


def plate(mni: torch.Tensor) -> torch.Tensor:
    """Bone of the vault (N,): 0 frontal, 1 parietal and temporal, 2 occipital; 3 more on the right."""
    bone = torch.ones_like(mni[0])
    bone = torch.where(coronal(mni) > 0, torch.zeros_like(bone), bone)
    bone = torch.where(lambdoid(mni) > 0, torch.full_like(bone, 2.0), bone)
    return bone + 3 * (mni[0] > 0)


def rough_layer(bleed: Bleed, layers: list[tuple[torch.Tensor, torch.Tensor]], most: float) -> torch.Tensor:
    """Bool (N,) over coarse points: where layers of (profile, mm from their sheet) may hold the volume."""

    def share(peak: torch.Tensor) -> torch.Tensor:
        return sum(
            ((peak * p - away) / COARSE + 0.5).clamp(0, 1) * (p > 0) * (away > 0) for p, away in layers
        )

    first = layers[0][0]
    peak = solve(share, torch.full_like(first[0], bleed.volume * 1000 / COARSE**3), 0.0, most)
    near = [(p > -0.01) & (away < 1.5 * peak * p + 6) & (away < 1.5 * peak + 6) for p, away in layers]
    return torch.stack(near).any(0)


class Epidural(Bleed):
    """A lens: thickness falls with the square of the distance along the bone from its middle."""

    name = "edh"
    most = 110.0
    least = 0.2

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        names = list(PLACES)
        self.place = str(rng.choice(names, p=[PLACES[name][3] for name in names]))
        x, y, z, _ = PLACES[self.place]
        self.sign = float(rng.choice([-1, 1]))
        self.middle = (self.sign * float(rng.uniform(*x)), float(rng.uniform(*y)), float(rng.uniform(*z)))
        # Thickness over half-width: 0.25 is flat, 0.6 bulges; small ones are flat.
        ratio = float(rng.uniform(0.26, 0.6)) * (0.75 if self.volume < 3 else 1.0)
        self.width = (2 * self.volume * 1000 / (np.pi * ratio)) ** (1 / 3)
        if self.place in ("frontal", "occipital", "posterior fossa"):
            self.width = min(self.width, 42.0)
        self.shift = float(rng.uniform(0.04, 0.14)) * (self.place != "posterior fossa")
        self.soft = float(rng.uniform(0.8, 1.6))
        self.ragged = float(rng.uniform(0.03, 0.12))
        self.edge = float(rng.uniform(2, 5))
        self.fracture = bool(rng.random() < 0.85)  # 85 to 95 % in the literature
        self.crack = float(rng.uniform(0, np.pi)), float(rng.uniform(22, 50)), float(rng.uniform(-0.4, 0.4))
        self.origin: torch.Tensor | None = None

    def find_origin(self, site: Site) -> torch.Tensor:
        """(3,) the point of the inner table in the direction of `middle`."""
        center = from_mni(site.spaces, CENTER)
        toward = from_mni(site.spaces, self.middle) - center
        ray = toward / toward.norm()
        t = torch.arange(20.0, 130.0, 0.5, device=ray.device)
        depth = sample(site.spaces.fields[:1], center[:, None] + ray[:, None] * t, STEP)[0]
        # The last point still inside; argmax finds the first one of the reversed ray.
        last = t[t.numel() - 1 - (depth.flip(0) > 0).to(torch.uint8).argmax()]
        return center + ray * last

    def profile(self, site: Site) -> torch.Tensor:
        """Relative thickness (N,), 0 to about 1."""
        away = ((site.points - self.origin[:, None]) ** 2).sum(0) - site.depth.clamp_min(0) ** 2
        flat = (1 - away.clamp_min(0) / self.width**2).clamp_min(0)
        mni = site.mni
        bounds = mni[0] * self.sign - 2
        if self.place == "frontal":
            bounds = torch.minimum(bounds, coronal(mni))
        elif self.place in ("occipital", "posterior fossa"):
            bounds = torch.minimum(bounds, lambdoid(mni))
        else:
            bounds = torch.minimum(bounds, torch.minimum(-coronal(mni), -lambdoid(mni)))
        return flat * smoothstep(bounds, 0, self.edge)

    def near(self, site: Site) -> torch.Tensor:
        self.origin = self.find_origin(site)
        return rough_layer(self, [(self.profile(site), site.depth)], 32.0)

    def room(self, labels: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
        return used < 1

    def thickness(self, site: Site) -> torch.Tensor:
        """mm (N,) of the lens under each point."""
        return self.profile(site) * self.limit

    def fill(self, site: Site, free: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        waves = noise(site.points, 14.0, generator) + noise(site.points, 30.0, generator)
        profile = self.profile(site) * (1 + self.ragged * waves)
        own = free * (profile > 0.01)

        def share(peak: torch.Tensor) -> torch.Tensor:
            edge = (peak * profile).clamp(0.3, self.soft)
            return (0.5 - (site.depth - peak * profile) / edge).clamp(0, 1) * own

        return self.reach(share, 0.0, min(32.0, 0.65 * self.width + 2))

    def velocity(self, site: Site) -> torch.Tensor:
        thickness = self.thickness(site)
        inward = site.points - from_mni(site.spaces, CENTER)[:, None]
        inward = -inward / (length(inward) + 8)
        reach = 12 + 0.5 * self.limit
        fade = torch.exp(-(site.depth - thickness).clamp_min(0) / reach)
        return -inward * thickness * fade

    def crack_share(self, points: torch.Tensor) -> torch.Tensor:
        """Share (N,) of a fracture line through the bone at points (3, N) near the lens."""
        turn, reach, offset = self.crack
        p = points - self.origin[:, None]
        normal = torch.stack((torch.zeros_like(p[0]), p[1], p[2]))
        across = normal[1] * np.cos(turn) + normal[2] * np.sin(turn) + offset * 20
        across = across + 1.5 * torch.sin(normal[1] / 6 + normal[2] / 9)
        return (1 - across.abs() / 0.9).clamp(0, 1) * (length(p) < reach)

    def summary(self) -> dict[str, object]:
        return super().summary() | {
            "place": self.place,
            "side": "right" if self.sign > 0 else "left",
            "thickness_mm": round(float(self.limit), 1),
            "fracture": self.fracture,
        }
