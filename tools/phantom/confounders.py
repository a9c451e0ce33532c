"""Bright and dark things that are no intracranial blood: calcium, old infarcts, scalp hematoma, fractures."""

from __future__ import annotations

import numpy as np
import torch

from tools.phantom.bleed import Site, unit
from tools.phantom.fields import bump, cover, ellipsoid, paint


class Confounders:
    """What one head has of them; `names` lists it for the truth file."""

    def __init__(self, rng: np.random.Generator, age: float, asymmetry: float = 1.0) -> None:
        self.names: list[str] = []
        old = float(np.clip((age - 15) / 60, 0, 1))
        both = 1.0 if asymmetry == 0 else 0.75

        def has(name: str, share: float) -> bool:
            if rng.random() < share:
                self.names.append(name)
                return True
            return False

        self.spots: list[tuple[tuple[float, float, float], tuple[float, float, float], float]] = []
        if has("choroid calcification", 0.25 + 0.6 * old):
            place = (23 + rng.normal(0, 1.5), -35 + rng.normal(0, 3), 12 + rng.normal(0, 2))
            size, hu = rng.uniform(1.4, 3.4), rng.uniform(90, 350)
            self.spots += self.pair(rng, place, (size, size * 1.8, size), hu, both, asymmetry)
        if has("pineal calcification", 0.35 + 0.4 * old):
            size = rng.uniform(1.2, 3.0)
            self.spots.append(((0.0, -25.0, 5.0), (size, size, size), float(rng.uniform(100, 380))))
        if has("basal ganglia calcification", 0.15 * old + 0.02):
            size = rng.uniform(1.5, 3.5)
            self.spots += self.pair(
                rng, (19.5, 3, 3), (size, size * 1.6, size), rng.uniform(55, 150), both, asymmetry
            )
        if has("falx calcification", 0.12 * old):
            place = (0.0, float(rng.uniform(10, 60)), float(rng.uniform(45, 62)))
            self.spots.append((place, (1.2, float(rng.uniform(2, 6)), 3.0), float(rng.uniform(150, 400))))

        self.infarct = None
        if asymmetry > 0 and has("old infarct", 0.22 * old + 0.02):
            side = rng.choice([-1, 1])
            places = [
                (side * 48, rng.uniform(-40, 20), rng.uniform(0, 35)),
                (side * 22, -68, 8),
                (side * 24, 6, 8),
            ]
            size = np.exp(rng.uniform(np.log(5), np.log(26), 3))
            self.infarct = (places[rng.integers(3)], size.tolist(), float(rng.uniform(9, 20)))
        self.scalp = None
        if asymmetry > 0 and has("scalp hematoma", 0.14):
            direction = unit((rng.choice([-1, 1]) * 60, rng.uniform(-60, 60), rng.uniform(-5, 60)))
            self.scalp = (
                direction,
                float(rng.uniform(3, 13)),
                float(rng.uniform(0.25, 0.5)),
                float(rng.uniform(50, 68)),
            )
        self.fracture = None
        if asymmetry > 0 and has("fracture", 0.10):
            direction = unit((rng.choice([-1, 1]) * 60, rng.uniform(-50, 50), rng.uniform(0, 55)))
            normal = unit(np.cross(direction, rng.normal(size=3)))
            self.fracture = (direction, normal, float(rng.uniform(0.4, 1.0)), float(rng.uniform(0.4, 1.1)))
        self.metal = None
        if has("metal", 0.04):
            side = float(rng.choice([-1, 1])) if asymmetry > 0 else 0.0
            self.metal = (side * rng.uniform(4, 20), float(rng.uniform(0, 14)), float(rng.uniform(-16, -6)))

    @staticmethod
    def pair(
        rng: np.random.Generator,
        place: tuple[float, ...],
        size: tuple[float, ...],
        hu: float,
        both: float,
        asymmetry: float,
    ) -> list[tuple[tuple[float, float, float], tuple[float, float, float], float]]:
        """The same spot on both sides, or at times on one, moved a little."""
        spots = []
        for side in (-1, 1):
            if rng.random() < both:
                jitter = rng.normal(0, 1, 3) * asymmetry
                grow = float(np.exp(0.3 * asymmetry * rng.normal()))
                center = (side * (place[0] + jitter[0]), place[1] + jitter[1], place[2] + jitter[2])
                spots.append((tuple(map(float, center)), tuple(float(s * grow) for s in size), float(hu)))
        return spots

    def swelling(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor | float:
        """mm by which a scalp hematoma lifts the skin."""
        if self.scalp is None:
            return 0.0
        direction, height, angle, _ = self.scalp
        cosine = self.cosine(direction, x, y, z)
        return height * bump((1 - cosine).clamp_min(0) * 2 / angle**2)

    @staticmethod
    def cosine(d: np.ndarray, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Cosine of the angle between points and a direction, from the head's centre."""
        length = (x * x + y * y + z * z + 1.0).rsqrt()
        return (float(d[0]) * x + float(d[1]) * y + float(d[2]) * z) * length

    def in_scalp(
        self, hu: torch.Tensor, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, above_bone: torch.Tensor,
        below_skin: torch.Tensor, h: float,
    ) -> torch.Tensor:  # fmt: skip
        """Blood under the galea, between bone and fat."""
        if self.scalp is None:
            return hu
        lift = self.swelling(x, y, z)
        amount = (
            cover(-above_bone, h)
            * cover(above_bone - lift - 1.0, h)
            * (lift > 1.0)
            * cover(2.5 - below_skin, h)
        )
        return paint(hu, self.scalp[3], amount)

    def in_bone(
        self, hu: torch.Tensor, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, mid: torch.Tensor, h: float
    ) -> torch.Tensor:
        """A fracture line through the vault."""
        if self.fracture is None:
            return hu
        direction, normal, width, angle = self.fracture
        plane = (float(normal[0]) * x + float(normal[1]) * y + float(normal[2]) * z + 2.5 * mid).abs()
        near = self.cosine(direction, x, y, z) > float(np.cos(angle))
        return paint(hu, 45.0, cover(plane - width, h) * near)

    def infarct_share(self, site: Site) -> torch.Tensor | None:
        """Share of each point that is an old infarct."""
        if self.infarct is None:
            return None
        (cx, cy, cz), (a, b, c), _ = self.infarct
        level = ellipsoid(site.x - float(cx), site.y - float(cy), site.z - float(cz), a, b, c)
        return (0.5 - (level + 0.25 * min(a, b, c) * site.mid + 0.8 * site.fine) / 3.0).clamp(0, 1)

    def in_brain(
        self, hu: torch.Tensor, site: Site, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, h: float
    ):
        """Old infarct, then calcifications, at anatomical points x, y, z; call before blood is painted."""
        share = self.infarct_share(site)
        if share is not None:
            hu = paint(hu, torch.minimum(hu, torch.full_like(hu, self.infarct[2])), share)
        for (cx, cy, cz), (a, b, c), value in self.spots:
            spot = ellipsoid(x - cx, y - cy, z - cz, a, b, c) + 0.35 * site.fine
            hu = paint(hu, value, cover(spot, max(h, 1.0)))
        return hu
