"""What a label map needs once: a frame aligned with the head, whole bone, and structures that it lacks.

Label maps from MRI know nothing of fat, dura and small vessels, and their bone has holes where it is as dark
as air. What this file finds by distances is measured on a grid of 2 mm and interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.distances import (
    FAR,
    coarse_distance,
    distance,
    grow,
    largest,
    refine,
    shrink,
)
from tools.phantom.anatomy.maps import LabelMap
from tools.phantom.anatomy.structures import (
    Ground,
    draw_air_cells,
    draw_arteries,
    draw_dura,
    draw_orbits,
    draw_sinuses,
)
from tools.phantom.anatomy.warp import gaussian

#: mm of neck kept below the brain.
NECK = 48

#: mm below the inner table from which fluid belongs to the ventricles, in a map that does not say so.
DEEP = 34.0


@dataclass
class PreparedMap:
    """A label map ready to make people from; volumes on its own grid of 1 mm.

    labels: (X, Y, Z) int16 with fat, dura and sinuses drawn.
    cavity: (X, Y, Z) bool, inside of the skull.
    depth: (X, Y, Z) float16, mm below the inner table, negative outside.
    side: (X, Y, Z) float16, mm to the right of the surface between the hemispheres.
    fluid: (X, Y, Z) float16, smoothed share of fluid outside the ventricles.
    skin, bone: (X/2, Y/2, Z/2) float16, mm from the air around the head and from the skull.
    to_head: 4x4, voxel to head coordinates.
    low, high: corners in mm of the head in head coordinates.
    spots: points in head coordinates where calcium is found, by name.
    """

    name: str
    labels: torch.Tensor
    cavity: torch.Tensor
    depth: torch.Tensor
    side: torch.Tensor
    fluid: torch.Tensor
    skin: torch.Tensor
    bone: torch.Tensor
    to_head: np.ndarray
    low: np.ndarray
    high: np.ndarray
    spots: dict[str, list[tuple[float, float, float]]]


def crop(map_: LabelMap) -> tuple[torch.Tensor, np.ndarray]:
    """Labels around the head, some neck kept, and their affine."""
    labels = map_.labels
    brain = L.is_in(labels, L.PARENCHYMA)
    head = labels > 0
    low, high = [], []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        filled = head.sum(others) > 20
        where = filled.nonzero()[:, 0] if filled.any() else head.any(others[1]).any(others[0]).nonzero()[:, 0]
        low.append(max(0, int(where.min()) - 2))
        high.append(min(labels.shape[axis], int(where.max()) + 3))
    bottom = int(brain.any(0).any(0).nonzero().min())
    low[2] = max(low[2], bottom - NECK)
    affine = map_.affine.copy()
    affine[:3, 3] = (affine @ (*low, 1))[:3]
    return labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].clone(), affine


def centroids(labels: torch.Tensor) -> dict[int, np.ndarray]:
    """Mean voxel index of every label, voxels of the cerebrum and the eyes in particular."""
    array = labels.numpy()
    numbers = [n for n in np.flatnonzero(np.bincount(array.ravel())) if n]
    return dict(
        zip(map(int, numbers), np.asarray(ndimage.center_of_mass(array > 0, array, numbers)), strict=True)
    )


def align(labels: torch.Tensor, cavity: torch.Tensor) -> np.ndarray:
    """4x4 rigid matrix from voxels to head coordinates.

    Left to right is the mean direction between paired structures. Eyes and cerebellum lie in the same slices
    of a scan along the orbitomeatal line. Without such labels the map's own axes are kept.
    """
    center = centroids(labels)
    right = np.array([1.0, 0.0, 0.0])
    pairs = [(center[a], center[b]) for a, b in L.PAIRS.items() if a in center and b in center]
    if len(pairs) > 3:
        right = sum(b - a for a, b in pairs)
        right /= np.linalg.norm(right)
    front = np.array([0.0, 1.0, 0.0])
    cerebellum = [center[n] for n in L.CEREBELLAR_CORTEX if n in center]
    if L.EYE in center and cerebellum and len(pairs) > 3:
        front = center[L.EYE] - np.mean(cerebellum, 0)
    front = front - right * (front @ right)
    front /= np.linalg.norm(front)
    rotation = np.stack([right, front, np.cross(right, front)])
    where = cavity.nonzero().double().numpy()
    turned = where[:: max(1, len(where) // 200_000)] @ rotation.T
    middle = (np.percentile(turned, 0.1, 0) + np.percentile(turned, 99.9, 0)) / 2
    if pairs:
        middle[0] = np.mean([rotation[0] @ (a + b) / 2 for a, b in pairs])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, -middle
    return matrix


def find_cavity(labels: torch.Tensor) -> torch.Tensor:
    """Bool: inside of the skull, still with some of the spinal canal."""
    inside = L.is_in(labels, L.INTRACRANIAL)
    # Without the sinuses, which go on as veins of the neck.
    core = torch.from_numpy(largest(shrink(inside & (labels != L.SINUS), 2).numpy()))
    cavity = grow(core, 3) & inside
    # Small strange labels and vessels inside count as inside.
    closed = shrink(grow(cavity, 3), 3) & ~L.is_in(labels, L.SKULL)
    cavity = (cavity | closed).numpy()
    for k in range(cavity.shape[2]):
        cavity[:, :, k] = ndimage.binary_fill_holes(cavity[:, :, k])
    return torch.from_numpy(cavity)


def calcium_spots(ground: Ground) -> dict[str, list[tuple[float, float, float]]]:
    """Where calcium is common: glomus of the choroid plexus, pineal gland, pallidum."""
    spots: dict[str, list[tuple[float, float, float]]] = {}
    third = ground.mean((L.THIRD,))
    for name, pairs in (("pallidum", ((13,), (52,))), ("choroid", ((31, 136, 4), (63, 163, 43)))):
        found = []
        for numbers in pairs:
            where = L.is_in(ground.labels, numbers)
            if name == "choroid" and where.any() and third is not None:
                # The glomus hangs in the atrium: the plexus, or the ventricle, well behind the third one.
                behind = where & (ground.y < third[1] - 18) & (ground.y > third[1] - 34)
                plexus = behind & L.is_in(ground.labels, L.CHOROID)
                where = plexus if plexus.any() else behind
            if where.any():
                found.append(tuple(float(c[where].mean()) for c in (ground.x, ground.y, ground.z)))
        spots[name] = found
    if third is not None:
        where = ground.labels == L.THIRD
        back = float(ground.y[where].min())
        end = where & (ground.y < back + 4)
        spots["pineal"] = [(0.0, back - 3.5, float(ground.z[end].mean()))]
    return spots


def head_coordinates(matrix: np.ndarray, shape: tuple[int, ...]) -> list[torch.Tensor]:
    """x, y, z in mm of every voxel of a grid, each (X, Y, Z) float32."""
    axes = [torch.arange(n, dtype=torch.float32) for n in shape]
    i, j, k = axes[0][:, None, None], axes[1][None, :, None], axes[2]
    return [float(m[0]) * i + float(m[1]) * j + float(m[2]) * k + float(m[3]) for m in matrix[:3]]


def signed_depth(cavity: torch.Tensor) -> torch.Tensor:
    """mm below the border of the cavity, positive inside."""
    box = ndimage.find_objects(cavity.numpy().astype(np.uint8))[0]
    box = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in box)
    depth = 0.5 - distance(cavity)
    inside = torch.from_numpy(ndimage.distance_transform_edt(cavity[box].numpy()).astype(np.float32)) - 0.5
    depth[box] = torch.where(cavity[box], inside, depth[box])
    return depth


def hemisphere_side(labels: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """mm to the right of the surface that is as far from the left as from the right hemisphere."""
    left, right = L.is_in(labels, (2, 3, 8, 7)), L.is_in(labels, (41, 42, 46, 47))
    if not left.any() or not right.any():
        return x.clone()
    apart = (distance(left) - distance(right)) / 2
    # Away from the hemispheres' gap the plane says more than the nearest gyrus.
    near = torch.exp(-((x / 8) ** 2))
    return near * apart.clamp(-FAR, FAR) + (1 - near) * x


def close_bone(
    labels: torch.Tensor, cavity: torch.Tensor, depth: torch.Tensor, z: torch.Tensor
) -> torch.Tensor:
    """Labels with a whole inner table of bone around the cavity; only the foramen magnum stays open."""
    shell = (depth > -2.2) & ~cavity & ~L.is_in(labels, L.SKULL)
    cord = L.is_in(labels, (L.CORD, L.BRAIN_STEM))
    opening = grow(cord, 9) & (z < z[cavity].min() + 6)
    out = set_label(labels, shell & ~opening, L.BONE)
    # What is called fluid or sinus outside the skull is something else.
    stray = ~cavity & L.is_in(out, L.INTRACRANIAL) & ~opening
    return set_label(out, stray, L.SOFT)


def tell_apart(labels: torch.Tensor, cavity: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Labels of a map that names only tissues (BrainWeb): sides divided at x = 0, ventricles in the depth."""
    if not L.is_in(labels, L.VENTRICLES).any():
        deep = (labels == L.CSF) & (distance(~cavity) > DEEP)
        labels = set_label(labels, deep, L.LATERAL_LEFT)
    if not L.is_in(labels, L.RIGHT).any():
        labels = torch.where(x > 0, L.look_up(L.mirror_table(), labels), labels)
    return labels


def smooth_vault(labels: torch.Tensor, cavity: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Labels whose outer table is smooth above the orbits, where maps are ragged on slanting bone."""
    skull = L.is_in(labels, L.SKULL) | cavity
    smooth = gaussian(skull.float(), 1.2) > 0.5
    high = (z > z[cavity].min() + 75) & ~cavity
    labels = set_label(labels, high & smooth & ~skull, L.BONE)
    return set_label(labels, high & ~smooth & skull, L.SOFT)


def cell_noise(shape: tuple[int, ...], wavelength: float, seed: int) -> torch.Tensor:
    """Noise of unit variance and one wavelength in mm, always the same."""
    noise = ndimage.gaussian_filter(
        np.random.default_rng(seed).standard_normal([-(-n // 2) for n in shape], np.float32), wavelength / 10
    )
    return refine(torch.from_numpy(noise / noise.std()), shape)


def set_label(labels: torch.Tensor, where: torch.Tensor, label: int) -> torch.Tensor:
    """Labels with one number at the marked voxels."""
    return torch.where(where, torch.tensor(label, dtype=labels.dtype), labels)


def prepare(map_: LabelMap) -> PreparedMap:
    """Align a map, close its bone, and draw what it lacks."""
    labels, _ = crop(map_)
    cavity = find_cavity(labels)
    matrix = align(labels, cavity)
    x, y, z = head_coordinates(matrix, labels.shape)
    labels = tell_apart(labels, cavity, x)
    cerebellum = L.is_in(labels, L.CEREBELLUM)
    if cerebellum.any():
        cavity &= z > z[cerebellum].min() - 5
    depth = signed_depth(cavity)
    labels = set_label(labels, cavity & ~L.is_in(labels, L.INTRACRANIAL), L.CSF)
    labels = smooth_vault(close_bone(labels, cavity, depth, z), cavity, z)
    air = labels == L.AIR
    outside = torch.from_numpy(largest(shrink(air, 1).numpy()))
    outside = grow(outside, 1) & air
    side = hemisphere_side(labels, x)
    cerebrum = L.is_in(labels, L.CEREBRUM)
    cerebellum = L.is_in(labels, (*L.CEREBELLUM, L.BRAIN_STEM))
    tent = (distance(cerebrum) - distance(cerebellum)) / 2
    ground = Ground(labels, cavity, depth, side, tent, x, y, z, np.linalg.inv(matrix))
    notch = distance(L.is_in(labels, (L.BRAIN_STEM, *L.VENTRICLES, *L.THALAMUS, *L.BASAL_GANGLIA)))
    draw_dura(ground, notch)
    draw_sinuses(ground)
    spots = draw_arteries(ground)
    draw_orbits(ground)
    draw_air_cells(ground, air & ~outside, cell_noise(labels.shape, 5.0, 1))
    labels = ground.labels
    skull = L.is_in(labels, L.SKULL) | cavity
    fluid = gaussian((labels == L.CSF).float(), 0.8)
    surface = (~outside).nonzero()[::97].double().numpy()
    points = surface @ matrix[:3, :3].T + matrix[:3, 3]
    spots |= calcium_spots(ground)
    return PreparedMap(
        name=map_.name,
        labels=labels,
        cavity=cavity,
        depth=depth.half(),
        side=side.half(),
        fluid=fluid.half(),
        skin=coarse_distance(outside).half(),
        bone=coarse_distance(skull).half(),
        to_head=matrix,
        low=points.min(0),
        high=points.max(0),
        spots=spots,
    )
