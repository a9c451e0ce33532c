"""Structures that label maps lack, drawn from those they have: dura, sinuses, arteries, mastoid cells.

All are sets of voxels found by distances: the falx is as far from the left hemisphere as from the right, the
tentorium as far from the cerebrum as from the cerebellum, sinuses run where these meet the skull.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch

from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.distances import distance, grow

Point = tuple[float, float, float]


@dataclass
class Ground:
    """What structures are drawn from, (X, Y, Z) on the grid of a map.

    labels int16; cavity bool; depth mm below the inner table; side mm right of the surface between the
    hemispheres; tent mm below the surface between cerebrum and cerebellum; x, y, z head coordinates;
    from_head 4x4, head coordinates to voxels.
    """

    labels: torch.Tensor
    cavity: torch.Tensor
    depth: torch.Tensor
    side: torch.Tensor
    tent: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    z: torch.Tensor
    from_head: np.ndarray

    def put(self, where: torch.Tensor, label: int) -> None:
        """Set voxels of the map."""
        self.labels[where] = label

    def mean(self, numbers: tuple[int, ...]) -> np.ndarray | None:
        """Mean head coordinates of structures, or None where they are missing."""
        where = L.is_in(self.labels, numbers)
        if not where.any():
            return None
        return np.array([float(c[where].mean()) for c in (self.x, self.y, self.z)])


def draw_dura(ground: Ground, notch: torch.Tensor) -> None:
    """Falx and tentorium, where fluid or cortex lies between the parts they divide.

    `notch` is the distance from the brain stem, the ventricles and the deep grey matter, which dura avoids.
    """
    free = ground.cavity & L.is_in(ground.labels, (L.CSF, *L.CORTEX, *L.CEREBELLAR_CORTEX))
    above = ground.tent < -4
    falx = free & (ground.side.abs() < 0.6) & above & (notch > 11)
    tentorium = free & (ground.tent.abs() < 0.6) & (notch > 9) & (ground.side.abs() < 60)
    ground.put(falx, L.FALX)
    ground.put(tentorium, L.TENTORIUM)


def draw_sinuses(ground: Ground) -> None:
    """Superior sagittal, straight and transverse sinuses."""
    free = ground.cavity & L.is_in(ground.labels, (L.CSF, *L.CORTEX, *L.CEREBELLAR_CORTEX, *L.DURA))
    stem = ground.mean((L.BRAIN_STEM,))
    if stem is None:
        return
    tent = free & (ground.labels == L.TENTORIUM) & (ground.side.abs() < 8)
    back = float(ground.y[tent].min()) if tent.any() else -80.0
    torcula = float(ground.z[tent & (ground.y < back + 6)].mean()) if tent.any() else float(stem[2])
    wide = 2.2 + 3.6 * ((60 - ground.y) / 130).clamp(0, 1)
    vault = (ground.z > torcula - 3) & ((ground.y < stem[1]) | (ground.z > stem[2] + 25))
    ground.put(free & vault & (ground.side.abs() + 0.62 * ground.depth < wide), L.SINUS)
    behind = ground.y < stem[1] - 22
    across = 6.5 - 1.6 * (ground.side < 0)
    ground.put(free & behind & (ground.depth + ground.tent.abs() < across), L.SINUS)
    middle = (ground.side.abs() < 1.8) & (ground.tent.abs() < 2.0) & (ground.y < stem[1] - 26)
    ground.put(free & middle, L.SINUS)


def tube(ground: Ground, points: list[Point], radius: float) -> torch.Tensor:
    """Bool: within `radius` of a polyline in head coordinates."""
    out = torch.zeros_like(ground.cavity)
    for start, end in itertools.pairwise(points):
        corners = np.stack([np.minimum(start, end) - radius - 2, np.maximum(start, end) + radius + 2])
        corners = np.stack(np.meshgrid(*corners.T, indexing="ij")).reshape(3, -1)
        voxels = ground.from_head[:3, :3] @ corners + ground.from_head[:3, 3:]
        low = np.clip(np.floor(voxels.min(1)), 0, out.shape).astype(int)
        high = np.clip(np.ceil(voxels.max(1)) + 1, 0, out.shape).astype(int)
        near = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        if 0 in out[near].shape:
            continue
        p = torch.stack(
            [c[near] - float(s) for c, s in zip((ground.x, ground.y, ground.z), start, strict=True)]
        )
        along = torch.tensor(np.subtract(end, start), dtype=torch.float32)[:, None, None, None]
        t = ((p * along).sum(0) / (along * along).sum()).clamp(0, 1)
        out[near] |= (p - t * along).square().sum(0) < radius * radius
    return out


def draw_arteries(ground: Ground) -> dict[str, list[Point]]:
    """Basilar, posterior, middle and anterior cerebral arteries in the cisterns of the base.

    Returns:
        Points in head coordinates where older arteries are calcified: `siphons`, `basilar`.
    """
    spots: dict[str, list[Point]] = {}
    free = ground.cavity & L.is_in(ground.labels, (L.CSF, *L.CORTEX))
    stem = L.is_in(ground.labels, (L.BRAIN_STEM,))
    center, chiasm = ground.mean((L.BRAIN_STEM,)), ground.mean((L.CHIASM,))
    drawn = torch.zeros_like(free)
    if center is not None:
        middle = stem & ((ground.x - center[0]).abs() < 2.5)
        points = []
        for level in np.arange(center[2] - 16, center[2] + 16, 4.0):
            here = middle & ((ground.z - level).abs() < 1.5)
            if here.any():
                points.append((float(center[0]), float(ground.y[here].max()) + 2.4, float(level)))
        # The interpeduncular fossa is where the front of the stem falls back.
        points = [p for i, p in enumerate(points) if i < 2 or p[1] > points[i - 1][1] - 4]
        if len(points) > 1:
            drawn |= tube(ground, points, 1.7)
            x, y, z = points[-1]
            spots["basilar"] = points[1:3]
            for s in (-1, 1):
                path = [
                    (x, y, z),
                    (x + 6 * s, y - 1, z + 1),
                    (x + 14 * s, y - 9, z + 2),
                    (x + 20 * s, y - 24, z + 4),
                ]
                drawn |= tube(ground, path, 1.3)
    if chiasm is not None:
        x, y, z = chiasm
        spots["siphons"] = [(x + 7.5 * s, y - 1, z - 5) for s in (-1, 1)]
        for s in (-1, 1):
            top = (x + 9 * s, y + 1, z)
            drawn |= tube(ground, [(x + 7.5 * s, y - 1, z - 9), top], 1.9)
            drawn |= tube(
                ground,
                [top, (x + 18 * s, y + 3, z + 1), (x + 26 * s, y + 1, z), (x + 33 * s, y - 2, z + 5)],
                1.5,
            )
            drawn |= tube(ground, [top, (x + 2 * s, y + 8, z + 3), (x + 1.5 * s, y + 22, z + 8)], 1.2)
    ground.put(drawn & free, L.ARTERY)
    return spots


def draw_orbits(ground: Ground) -> None:
    """Fat around the eyeballs, which have a wall and a lens."""
    eyes = ground.labels == L.EYE
    if not eyes.any():
        return
    near = distance(eyes)
    center = ground.mean((L.EYE,))
    soft = L.is_in(ground.labels, (L.SOFT, L.LENS_ORBIT))
    fat = soft & (near < 24) & (ground.y < center[1] + 4) & (ground.y > center[1] - 40)
    # Optic nerve and muscles run back to the tip: a cone around each eye's axis is left.
    nerve = (ground.labels == L.LENS_ORBIT) & (near > 2)
    ground.put(fat & ~nerve, L.FAT)
    ground.put(grow(eyes, 1) & ~eyes & L.is_in(ground.labels, (L.SOFT, L.FAT, L.LENS_ORBIT)), L.LENS_ORBIT)


def draw_air_cells(ground: Ground, inner_air: torch.Tensor, cells: torch.Tensor) -> None:
    """Mastoid cells: air behind and above the ears with thin bone between, in bone away from the brain.

    `inner_air` is air within the head, `cells` noise of a few mm wavelength.
    """
    low = float(ground.z[ground.cavity].min())
    ear = (ground.x.abs() > 28) & (ground.y < 2) & (ground.y > -62) & (ground.z < low + 42)
    ground.put(inner_air & ear & (ground.z > low - 12), L.AIR_CELLS)
    mastoid = (ground.x.abs() > 40) & (ground.y < -12) & (ground.y > -52) & (ground.z < low + 32)
    bone = mastoid & (ground.labels == L.BONE) & (ground.depth < -3.0) & (cells > -0.1)
    ground.put(bone & (distance(ground.labels == L.SKIN) > 9), L.AIR_CELLS)
    # Between the eyes lie small cells, not one cavity.
    ethmoid = inner_air & (ground.x.abs() < 16) & (ground.y > 20) & (ground.depth > -34) & (cells > 0.75)
    ground.put(ethmoid, L.BONE)
