"""Subdural hematoma: a layer that crosses sutures but never the midline; along falx and tentorium too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tools.phantom.anatomy.blood.bleed import Bleed
from tools.phantom.anatomy.blood.epidural import CENTER, rough_layer
from tools.phantom.anatomy.blood.site import Site, from_mni, length, noise, smoothstep

#: Where subdural blood lies, and how often.
PLACES = {"convexity": 0.62, "convexity and falx": 0.12, "convexity and tentorium": 0.08, "falx": 0.09,
          "tentorium": 0.09}  # fmt: skip

#: How old it is: bright; dense blood that settles in older blood; as bright as brain; darker than brain.
AGES = {"acute": 0.6, "mixed": 0.16, "isodense": 0.15, "chronic": 0.09}

#: HU of old subdural blood. Darker fluid (a hygroma) is not drawn as blood.
ISODENSE, CHRONIC = (33.0, 44.0), (20.0, 32.0)


@dataclass
class Patch:
    """A part of the convexity: middle and half-extents in radians of azimuth (0 in front) and elevation."""

    sign: float
    azimuth: float
    elevation: float
    wide: float
    high: float
    share: float


class Subdural(Bleed):
    """Layers given by a relative thickness over the inside of the dura; the peak in mm gives the volume."""

    name = "sdh"
    most = 120.0
    least = 0.3

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        names = list(PLACES)
        self.place = str(rng.choice(names, p=[PLACES[name] for name in names]))
        self.sign = float(rng.choice([-1, 1]))
        if self.place in ("falx", "tentorium"):
            self.volume = min(self.volume, float(rng.uniform(1, 18)))
        kinds = list(AGES)
        self.kind = str(rng.choice(kinds, p=[AGES[kind] for kind in kinds]))
        if self.place in ("falx", "tentorium"):
            self.kind = "acute"
        # Old subdural blood is seldom small.
        if self.kind in ("isodense", "chronic", "mixed"):
            self.volume = max(self.volume, float(rng.uniform(4, 25)))
        self.old = {"isodense": rng.uniform(*ISODENSE), "chronic": rng.uniform(*CHRONIC)}.get(self.kind, 0.0)
        self.settled = float(rng.uniform(24, 40)), float(rng.uniform(-30, 20)), float(rng.uniform(2, 12))
        self.soft = float(rng.uniform(1.0, 2.0))
        self.ragged = float(rng.uniform(0.08, 0.3))
        self.blunt = float(rng.uniform(0.35, 0.75))
        # Thickness is drawn, the area follows: many are thin.
        least = max(1.6, self.volume * 1000 / (0.6 * 21_000))
        most = max(least * 1.2, min(24.0, self.volume * 1000 / (0.6 * 700), 3.5 * least + 2))
        self.thick = float(np.exp(rng.uniform(np.log(least), np.log(most))))
        self.shift = float(rng.uniform(0.05, 0.17)) * ("convexity" in self.place)
        both = self.place == "convexity" and rng.random() < 0.12
        self.patches = [self.draw_patch(rng, self.sign, 1.0)]
        if both:
            self.patches.append(self.draw_patch(rng, -self.sign, float(rng.uniform(0.3, 0.9))))
            self.shift *= 0.3
        y = float(rng.uniform(-72, 45))
        # The free border of the falx, and how much of the sheet is covered.
        border = 18 + 14 * np.cos((y + 15) / 45) if y > -62 else -4
        reach = float(np.sqrt(self.volume * 1000 / (0.4 * np.pi * rng.uniform(1.2, 4.5))))
        self.sheet = (y, float(min(border + rng.uniform(4, 34), 66)), float(np.clip(reach, 9, 70)))
        #: Thickest layer in mm.
        self.most_mm = {"falx": 8.0, "tentorium": 4.5}.get(self.place, 30.0)
        self.sheet_thick = float(rng.uniform(0.35, 0.8))

    def draw_patch(self, rng: np.random.Generator, sign: float, share: float) -> Patch:
        """A patch whose area goes with volume and thickness: radians squared times 70 mm squared."""
        area = self.volume * 1000 / (0.6 * self.thick) / 4900 / np.pi
        ratio = float(rng.uniform(1.1, 2.8))
        high = float(np.clip((area / ratio) ** 0.5, 0.12, 0.95))
        wide = float(np.clip(area / high, 0.14, 1.6))
        return Patch(sign, float(rng.uniform(0.7, 2.3)), float(rng.uniform(-0.05, 0.85)), wide, high, share)

    def convexity(self, site: Site) -> torch.Tensor:
        """Relative thickness (N,) along the vault."""
        x, y, z = site.mni - torch.tensor(CENTER, device=site.points.device)[:, None]
        flat = (x * x + y * y).sqrt()
        elevation = torch.atan2(z, flat)
        squeeze = (flat / (flat * flat + z * z + 1).sqrt()).clamp_min(0.3)
        total = torch.zeros_like(x)
        for patch in self.patches:
            azimuth = torch.atan2(x * patch.sign, y)
            rho = ((azimuth - patch.azimuth) * squeeze / patch.wide) ** 2
            rho = rho + ((elevation - patch.elevation) / patch.high) ** 2
            layer = (1 - rho).clamp_min(0) ** self.blunt * patch.share
            # It thins out towards the falx, the tentorium and the skull base.
            layer = layer * smoothstep(site.side * patch.sign, 1.0, 8.0) * smoothstep(-site.tent, 1.0, 8.0)
            # Under the temporal lobe it reaches lower than over the roof of the orbit.
            lowest = -0.55 + 0.3 * smoothstep(y, 25, 45)
            total = torch.maximum(total, layer * smoothstep(elevation - lowest, 0, 0.25))
        return total

    def sheets(self, site: Site) -> tuple[torch.Tensor, torch.Tensor]:
        """Relative thickness (N,) of the layer along falx or tentorium, and mm (N,) from that sheet."""
        mni, beside = site.mni, site.side * self.sign
        y, z, reach = self.sheet
        if "tentorium" in self.place:
            near = smoothstep(-site.tent, -0.5, 1.0) * (site.tent > -14) * smoothstep(beside, 2.0, 8.0)
            away = ((mni[0].abs() - 24) / 30) ** 2 + ((mni[1] + 62) / 36) ** 2
            away = away * max(1.0, (45 / reach) ** 2)
            # The tentorium lies between two surfaces that both are near; the stem has none.
            near = near * smoothstep(-mni[1], 30, 42) * (site.tent < 0.5) * (mni[2] < 18)
            return (1 - away).clamp_min(0) ** 0.5 * near, -site.tent * 0.6
        near = (beside > 0.3) * (site.tent < 2) * smoothstep(mni[2], -8, 4)
        away = ((mni[1] - y) / reach) ** 2 + ((mni[2] - z) / (0.6 * reach)) ** 2
        # Only near the falx, whose free border runs over the corpus callosum.
        free = smoothstep(mni[2] - (18 + 14 * torch.cos((mni[1] + 15) / 45)), 0, 6)
        free = torch.maximum(free, smoothstep(-mni[1], 62, 70))
        free = torch.maximum(free, smoothstep(mni[1], 46, 52))
        return (1 - away).clamp_min(0) ** 0.5 * near * free, beside * 0.6

    def layers(self, site: Site) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Relative thickness (N,) and mm from the sheet that it lies on (N,), of each layer."""
        found = []
        if "convexity" in self.place:
            found.append((self.convexity(site), site.depth))
        if self.place != "convexity":
            profile, away = self.sheets(site)
            found.append((profile * (self.sheet_thick if found else 1.0), away))
        return found

    def near(self, site: Site) -> torch.Tensor:
        return rough_layer(self, self.layers(site), self.most_mm)

    def room(self, labels: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
        return used < 1

    def fill(self, site: Site, free: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        waves = sum(
            w * noise(site.points, mm, generator) for mm, w in ((12.0, 0.6), (28.0, 0.8), (60.0, 0.6))
        )
        rough = (1 + self.ragged * waves).clamp_min(0.1)
        layers = [(profile * rough, away) for profile, away in self.layers(site)]
        own = free * (site.depth > -0.5)
        # Never across the midline, whatever the layers say.
        signs = {patch.sign for patch in self.patches} if "convexity" in self.place else {self.sign}
        if len(signs) == 1:
            own = own * smoothstep(site.side * self.sign, 0.3, 1.5)

        def share(peak: torch.Tensor) -> torch.Tensor:
            total = torch.zeros_like(own)
            for profile, away in layers:
                thick = peak * profile
                edge = thick.clamp(0.3, self.soft)
                total = torch.maximum(total, (0.5 - (away - thick) / edge).clamp(0, 1) * (profile > 0.02))
            return total * own

        return self.reach(share, 0.0, self.most_mm)

    def velocity(self, site: Site) -> torch.Tensor:
        push = torch.zeros_like(site.points)
        inward = site.points - from_mni(site.spaces, CENTER)[:, None]
        inward = -inward / (length(inward) + 8)
        if "convexity" in self.place:
            thickness = self.convexity(site) * self.limit
            fade = torch.exp(-(site.depth - thickness).clamp_min(0) / (16 + 0.6 * self.limit))
            push = push - inward * thickness * fade
        if self.place != "convexity":
            profile, away = self.sheets(site)
            thickness = profile * self.limit
            fade = torch.exp(-(away - thickness).clamp_min(0) / 9)
            direction = torch.zeros_like(push)
            direction[2 if "tentorium" in self.place else 0] = 1.0 if "tentorium" in self.place else self.sign
            push = push - direction * thickness * fade * 0.8
        return push

    def value(self, site: Site, share: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        hu = super().value(site, share, generator)
        if self.old:
            return hu - self.age.hu + float(self.old)
        if self.kind == "mixed":
            low, level, band = self.settled
            wave = 2.5 * noise(site.points, 20.0, generator) if band > 6 else 0.0
            dense = torch.sigmoid((level - site.height + wave) / band)
            return low + (hu - low) * dense
        return hu

    def summary(self) -> dict[str, object]:
        sides = {patch.sign for patch in self.patches}
        side = "both" if len(sides) == 2 else "right" if self.sign > 0 else "left"
        hu = round(float(self.old), 1) if self.old else round(self.age.hu, 1)
        return super().summary() | {
            "place": self.place,
            "side": side,
            "age": self.kind if self.kind != "acute" else self.age.name,
            "hu": hu,
            "thickness_mm": round(float(self.limit), 1),
        }
