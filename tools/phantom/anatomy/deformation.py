"""Where every voxel of a person lies in the map it is made from."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.prepare import PreparedMap
from tools.phantom.anatomy.traits import Traits
from tools.phantom.anatomy.warp import gaussian, identity, integrate, jacobian, resize, sample
from tools.phantom.fields import band_noise

#: mm between samples of the deformation.
COARSE = 4

#: mm of air around the head.
MARGIN = 8.0


class Deformation:
    """A smooth map without folds from a person to a label map.

    Attributes:
        shape, origin: grid of 1 mm in head coordinates.
        displacement: (3, x, y, z) mm on a grid of `COARSE` mm that begins at the same corner.
        smallest: smallest determinant of its Jacobian.
    """

    def __init__(self, prepared: PreparedMap, traits: Traits, generator: torch.Generator) -> None:
        size = np.asarray(traits.size)
        low, high = prepared.low * size - MARGIN, prepared.high * size + MARGIN
        if traits.mirrored:
            low[0], high[0] = -high[0], -low[0]
        self.origin = np.floor(low)
        self.shape = tuple(int(n) for n in np.ceil(high - self.origin))
        flip = np.diag([-1.0 if traits.mirrored else 1.0, 1.0, 1.0])
        to_map = np.eye(4)
        to_map[:3, :3] = flip / size
        # From a point of the undeformed person to a voxel of the map.
        self.to_map = np.linalg.inv(prepared.to_head) @ to_map
        coarse = [(n - 1) // COARSE + 2 for n in self.shape]
        self.displacement = integrate(self.velocity(prepared, traits, coarse, generator), COARSE)
        self.smallest = float(jacobian(self.displacement, COARSE).min())

    def velocity(
        self, prepared: PreparedMap, traits: Traits, coarse: list[int], generator: torch.Generator
    ) -> torch.Tensor:
        """Smooth random velocity in mm, and one that moves the walls of the ventricles."""
        noise = band_noise((110.0, 110.0, 110.0, 55.0, 55.0, 55.0), 40, 160.0, generator)
        noise = F.interpolate(noise[None], size=(80, 80, 80), mode="trilinear", align_corners=True)[0]
        start = [max(0, (80 - n) // 2) for n in coarse]
        part = noise[(slice(None), *(slice(s, s + n) for s, n in zip(start, coarse, strict=True)))]
        if part.shape[1:] != torch.Size(coarse):
            part = resize(part, coarse)
        velocity = traits.warp * (0.85 * part[:3] + 0.3 * part[3:])
        fluid = L.is_in(prepared.labels, L.VENTRICLES)
        half = F.avg_pool3d(fluid[None, None].float(), 4, ceil_mode=True, count_include_pad=False)[0, 0]
        index = self.map_index(identity(coarse) * COARSE)
        hill = gaussian(sample(half, (index - 1.5) / 4), 1.6)
        slope = torch.stack(torch.gradient(hill, spacing=COARSE))
        steep = slope.norm(dim=0)
        # Towards the inside, since a volume is pulled: the wall is found nearer the middle than it lies.
        return velocity + traits.ventricles * slope / (steep + 0.15 * steep.max() + 1e-6)

    def map_index(self, local: torch.Tensor, displacement: torch.Tensor | None = None) -> torch.Tensor:
        """Voxel indices (..., 3) in the map of points (..., 3) in mm from the grid's corner."""
        matrix = torch.as_tensor(self.to_map, dtype=torch.float32)
        points = local + torch.as_tensor(self.origin, dtype=torch.float32)
        if displacement is not None:
            points = points + displacement
        return points @ matrix[:3, :3].T + matrix[:3, 3]

    def index(self, step: int = 1) -> torch.Tensor:
        """Voxel indices (x, y, z, 3) in the map of every `step`-th voxel of the person's grid."""
        n = self.displacement.shape[1:]
        fine = resize(self.displacement, [(k - 1) * COARSE // step + 1 for k in n])
        shape = [-(-k // step) for k in self.shape] if step == 1 else [k // step + 2 for k in self.shape]
        fine = fine[(slice(None), *(slice(k) for k in shape))]
        return self.map_index(identity(fine.shape[1:]) * step, fine.movedim(0, -1))

    def smooth(self, volume: torch.Tensor, outside: float = 0.0) -> torch.Tensor:
        """A smooth volume of the map on the person's grid, sampled on 2 mm and interpolated."""
        coarse = sample(volume, self.index(2), outside=outside)
        fine = resize(coarse[None], [2 * n - 1 for n in coarse.shape])[0]
        return fine[tuple(slice(n) for n in self.shape)].contiguous()
