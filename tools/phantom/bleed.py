"""What all hemorrhages share: a bleed is a level set.

Each type states a level function over the head and the room it may take. Its volume is drawn first; the level
that gives this volume is found on a coarse grid of the head (`calibrate`), so that irregular shapes, thin
layers and fluid levels all reach their volume in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tools.phantom.brain import Spaces
from tools.phantom.fields import Points

#: Range of volumes in mL that are drawn, log-uniform; anatomy may limit them further.
VOLUME_RANGE = (0.3, 120.0)


@dataclass
class Site:
    """A set of points with all that a bleed may ask about them.

    x, y, z are normalised head coordinates in mm (where the points are now), `spaces` the anatomy that has
    been pushed there, `height` mm against gravity, `fine`, `mid`, `long` noise of 10, 25 and 60 mm
    wavelength.
    """

    x: torch.Tensor
    y: torch.Tensor
    z: torch.Tensor
    spaces: Spaces
    height: torch.Tensor
    fine: torch.Tensor
    mid: torch.Tensor
    long: torch.Tensor

    @property
    def depth(self) -> torch.Tensor:
        """mm below the inner table."""
        return self.spaces.depth


class Bleed:
    """One hemorrhage.

    Subclasses define `level` (smaller fills first, about mm), `room` (share of each point open to it), and
    may define `push` (mass effect) and `value` (HU).
    """

    name = ""
    most = VOLUME_RANGE[1]

    def __init__(self, rng: np.random.Generator) -> None:
        low, high = np.log(VOLUME_RANGE[0]), np.log(self.most)
        self.volume = float(np.exp(rng.uniform(low, high)))
        thin = rng.random() < 0.12  # anaemia, or some days old
        self.hu = float(rng.uniform(40, 50) if thin else np.clip(rng.normal(64, 6), 52, 85))
        self.limit: torch.Tensor | float = 0.0

    def level(self, site: Site) -> torch.Tensor:
        """Level function at the points."""
        raise NotImplementedError

    def room(self, site: Site, h: float) -> torch.Tensor:
        """Share of each point that this bleed may take, 0 to 1."""
        raise NotImplementedError

    def share(self, site: Site, h: float) -> torch.Tensor:
        """Share of each point that is blood of this bleed."""
        return (0.5 - (self.level(site) - self.limit) / h).clamp(0, 1) * self.room(site, h)

    def value(self, site: Site) -> torch.Tensor:
        """HU of the blood at the points."""
        return self.hu + 2.5 * site.mid + 1.5 * site.fine

    def push(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, depth: torch.Tensor) -> Points | None:
        """Displacement in mm to add to the points to find the anatomy that has been pushed there."""
        return None

    def calibrate(self, site: Site, used: torch.Tensor, ml: float, h: float) -> None:
        """Set `limit` to the level that encloses `volume`; `ml` is a point's volume, `used` other blood."""
        room = self.room(site, h) * (1 - used)
        level = self.level(site)
        order = level.argsort()
        filled = room[order].cumsum(0) * ml
        target = torch.minimum(filled[-1] * self.fill, torch.as_tensor(self.volume, device=level.device))
        index = torch.searchsorted(filled, target[None]).clamp_max(filled.numel() - 1)
        self.limit = level[order][index][0]

    #: Share of all room that the bleed can take at most.
    fill = 0.95


def unit(vector: tuple[float, float, float]) -> np.ndarray:
    """Vector of length 1."""
    array = np.asarray(vector, dtype=float)
    return array / np.linalg.norm(array)
