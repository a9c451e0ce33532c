"""What all bleeds share: how much, how bright, how old, how soft; and reaching the volume asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from tools.phantom.anatomy.blood.site import Site, noise

#: Volumes in mL: this share of all bleeds is tiny, log-uniform in the first range; the rest in the second.
TINY_SHARE, TINY, LARGE = 0.4, (0.1, 3.0), (3.0, 120.0)

#: Share of bleeds that are pale: anaemia, unclotted, or some days old.
PALE_SHARE = 0.37
PALE, FRESH = (35.0, 50.0), (45.0, 80.0)

#: Mean fall of a hematoma's HU per day (Dolinskas et al., AJR 1977).
FALL_PER_DAY = 1.5


@dataclass(frozen=True)
class Age:
    """Age and brightness of a bleed: days, haematocrit in per cent, HU of its middle."""

    name: str
    days: float
    hematocrit: float
    hu: float


def draw_age(rng: np.random.Generator) -> Age:
    """Draw fresh blood of a haematocrit, clotted more or less, or pale blood.

    Whole blood rises by about 1 HU per per cent of haematocrit (New and Aronow, Radiology 1976); a clot that
    retracts presses out serum and reaches 60 to 80 HU.
    """
    hematocrit = float(np.clip(rng.normal(41, 5), 24, 55))
    if rng.random() < PALE_SHARE:
        hu = float(rng.uniform(*PALE))
        whole = 10 + 0.95 * hematocrit + 14
        return Age("pale", float(np.clip((whole - hu) / FALL_PER_DAY, 0, 21)), hematocrit, hu)
    clot = float(rng.uniform(2, 26))
    days = float(rng.choice([0.0, rng.uniform(0, 3)]))
    hu = 10 + 0.95 * hematocrit + clot - FALL_PER_DAY * days
    return Age("fresh", days, hematocrit, float(np.clip(hu, *FRESH)))


def draw_volume(rng: np.random.Generator, most: float = LARGE[1], least: float = TINY[0]) -> float:
    """Volume in mL: tiny in two of five bleeds, else log-uniform up to `most`."""
    low, high = TINY if rng.random() < TINY_SHARE or most <= LARGE[0] else (LARGE[0], most)
    low, high = max(low, least), max(min(high, most), least * 1.01)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


#: Shares of points as a function of a scalar limit; they grow with it.
Shares = Callable[[torch.Tensor], torch.Tensor]


def solve(share: Shares, voxels: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Limit, a scalar tensor, at which the shares that grow with it add up to `voxels`.

    Bisection without a look at the values, so that a GPU is never waited for.
    """
    a, b = torch.full_like(voxels, low), torch.full_like(voxels, high)
    for _ in range(24):
        middle = (a + b) / 2
        less = share(middle).sum() < voxels
        a, b = torch.where(less, middle, a), torch.where(less, b, middle)
    return (a + b) / 2


class Bleed:
    """One hemorrhage of one type.

    A subclass draws its numbers in `__init__`, may push the brain (`velocity`), chooses the voxels it may
    take (`room`), fills them to its volume (`fill`), and says how bright they are (`value`).

    Attributes:
        volume: mL asked for.
        age: brightness and days.
        soft: mm over which its edge fades.
    """

    name = ""
    most = LARGE[1]
    least = TINY[0]
    #: -1 left, 1 right; mm of midline shift per mL; mm by which the ventricles are widened.
    sign, shift, dilation = 0.0, 0.0, 0.0

    def __init__(self, rng: np.random.Generator) -> None:
        self.volume = draw_volume(rng, self.most, self.least)
        self.age = draw_age(rng)
        self.soft = float(rng.uniform(1.0, 2.2))
        self.swirl = float(rng.uniform(0.08, 0.25)) * self.age.hu * (rng.random() < 0.22)
        self.texture = float(rng.uniform(0.8, 2.4))
        self.limit = torch.tensor(0.0)

    def near(self, site: Site) -> torch.Tensor:
        """Bool (N,) over coarse points: where some of it may lie; spares the rest of the work."""
        return torch.ones_like(site.points[0], dtype=torch.bool)

    def reach(self, share: Shares, low: float, high: float) -> torch.Tensor:
        """Shares (N,) that add up to the volume; the volume shrinks to what `high` can hold."""
        most = share(torch.tensor(high, device=self.limit.device)).sum()
        voxels = torch.minimum(most, torch.full_like(most, self.volume * 1000))
        self.limit = solve(share, voxels, low, high)
        self.volume = float(voxels) / 1000
        return share(self.limit)

    def velocity(self, site: Site) -> torch.Tensor | None:
        """(3, N) mm: pull-back velocity of its mass effect at coarse points, or None."""
        return None

    def room(self, labels: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
        """Bool over the box: voxels that may hold some of it."""
        raise NotImplementedError

    def fill(self, site: Site, free: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Shares (N,) that add up to the volume, or to what there is room for; `free` is what others left."""
        raise NotImplementedError

    def value(self, site: Site, share: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """HU (N,) of the blood itself: texture, and darker unclotted pockets where it swirls."""
        size = max(5.0, 4 * self.volume ** (1 / 3))
        hu = self.age.hu + self.texture * (
            noise(site.points, size * 2, generator) + 0.7 * noise(site.points, 6.0, generator)
        )
        if self.swirl:
            bend = torch.stack([noise(site.points, size * 3, generator) for _ in range(3)]) * size * 0.6
            pocket = noise(site.points + bend, size * 1.4, generator)
            hu = hu - self.swirl * ((pocket - 0.6) / 0.5).clamp(0, 1)
        return hu

    def summary(self) -> dict[str, object]:
        """Plain numbers for the truth file."""
        return {
            "asked_ml": round(self.volume, 3),
            "hu": round(self.age.hu, 1),
            "age": self.age.name,
            "days": round(self.age.days, 1),
            "hematocrit": round(self.age.hematocrit, 1),
        }
