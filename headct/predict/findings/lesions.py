"""What a label map says in a clinician's terms: lesions with mL, ABC/2, diameter, density, side and depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cc3d
import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import ConvexHull, cKDTree
from scipy.spatial.distance import pdist

from headct.predict.results import Lesion
from tools.core.tensors import bounding_box, upright_spacing, voxel_ml
from tools.metrics.volume import abc_half_ml

__all__ = ["find_lesions", "inner_table", "largest_diameter_mm", "largest_first"]

MIDLINE_SHARE = (
    0.25  # of a lesion on the lesser side of the symmetry plane: from here on it is called midline
)
BONE_HU = 200.0
FINE_MM = 1.0  # where voxels are finer, every second one or so says where the skull is
BONE_REACH_MM = 4.0  # the brain mask ends somewhere in the blur between brain and bone


def find_lesions(
    label: np.ndarray,
    hu: np.ndarray,
    affine: np.ndarray,
    spacing: np.ndarray,
    names: Mapping[int, str],
    plane: tuple[np.ndarray, float] | None = None,
    skull_mm: np.ndarray | None = None,
    min_ml: float = 0.0,
) -> tuple[list[Lesion], list[float]]:
    """Measure every connected bleed (26 neighbours) of some size, the largest first.

    Args:
        label: class values (X, Y, Z), RAS, 0 is background; classes that touch are one lesion.
        hu: the scan, same shape.
        affine: voxel to world (RAS+ mm), (4, 4).
        spacing: voxel edge lengths in mm.
        names: of the class values.
        plane: unit normal, pointing to the patient's right, and offset in mm of the symmetry plane.
        skull_mm: points of the inner table in world mm, (n, 3), see `inner_table`.
        min_ml: smaller ones are not measured.

    Returns:
        the lesions, and the volumes in mL of those that are smaller.
    """
    box = bounding_box(torch.from_numpy(np.ascontiguousarray(label > 0)))
    if box is None:
        return [], []
    offset = np.array([side.start for side in box])
    label, hu = np.ascontiguousarray(label[box]), hu[box]
    one_ml, upright = voxel_ml(affine), upright_spacing(affine)
    components, boxes, counts, order = largest_first(label)
    tree = cKDTree(skull_mm) if skull_mm is not None and len(skull_mm) else None
    volumes = counts * one_ml
    lesions: list[Lesion] = []
    for i in order[volumes[order] >= min_ml]:
        box = boxes[i]
        mask = components[box] == i
        start = np.array([s.start for s in box]) + offset
        world = (np.argwhere(mask) + start) @ affine[:3, :3].T + affine[:3, 3]
        kinds = np.bincount(label[box][mask])
        kinds[0] = 0
        kind = int(kinds.argmax())
        lesions.append(
            Lesion(
                number=len(lesions) + 1,
                volume_ml=float(mask.sum()) * one_ml,
                abc_half_ml=abc_half_ml(mask, upright),
                diameter_mm=largest_diameter_mm(mask, spacing),
                mean_hu=float(hu[box][mask].mean()),
                centroid_mm=[float(c) for c in world.mean(0)],
                side=_side(world, plane),
                depth_mm=None if tree is None else float(tree.query(world)[0].min()),
                slices=[int(box[2].start + offset[2]) + 1, int(box[2].stop + offset[2])],
                kind=names.get(kind, f"class {kind}"),
            )
        )
    return lesions, volumes[order[len(lesions) :]].tolist()


def largest_first(
    label: np.ndarray,
) -> tuple[np.ndarray, Sequence[tuple[slice, ...]], np.ndarray, np.ndarray]:
    """The connected bleeds (26 neighbours) of a label map (X, Y, Z), cropped to where it is not 0.

    Returns:
        their numbers, same shape; for each number its bounding box and its voxels; the numbers by size.
    """
    components = cc3d.connected_components(label > 0, connectivity=26)
    stats = cc3d.statistics(components)
    counts = stats["voxel_counts"].astype(np.int64)
    return components, stats["bounding_boxes"], counts, np.argsort(-counts[1:], kind="stable") + 1


def largest_diameter_mm(mask: np.ndarray, spacing: np.ndarray) -> float:
    """The longest line within the outline's hull on any axial slice, edge to edge; mask (X, Y, Z)."""
    longest = 0.0
    corner = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    for z in np.flatnonzero(mask.any((0, 1))):
        points = (np.argwhere(mask[:, :, z])[:, None] + corner).reshape(-1, 2) * spacing[:2]
        longest = max(longest, float(pdist(points[ConvexHull(points).vertices]).max()))
    return longest


def inner_table(hu: np.ndarray, brain: np.ndarray, affine: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Points (n, 3), in world mm, of the brain mask's surface that lies at bone.

    The mask's other surface, the foramen magnum and the ends of the scan, is no skull.
    """
    steps = tuple(max(1, round(FINE_MM / float(mm))) for mm in spacing)
    box = bounding_box(torch.from_numpy(np.ascontiguousarray(brain)), steps)
    if box is None:
        return np.empty((0, 3))
    low = np.array([side.start for side in box])
    sparse = tuple(slice(side.start, side.stop, n) for side, n in zip(box, steps, strict=True))
    brain, hu = np.ascontiguousarray(brain[sparse]), hu[sparse]
    spacing = spacing * steps
    surface = brain & ~ndimage.binary_erosion(brain, ndimage.generate_binary_structure(3, 1), border_value=1)
    reach = [max(1, round(BONE_REACH_MM / s)) for s in spacing[:2]]
    points = np.argwhere(surface)
    # the highest value within reach in the slice, looked up where it is needed only
    offsets = [(dx, dy) for dx in (-reach[0], 0, reach[0]) for dy in (-reach[1], 0, reach[1])]
    offsets += [(dx // 2, dy // 2) for dx, dy in offsets]
    bone = np.zeros(len(points), dtype=bool)
    x_end, y_end = hu.shape[0] - 1, hu.shape[1] - 1
    for dx, dy in set(offsets):
        x, y = (points[:, 0] + dx).clip(0, x_end), (points[:, 1] + dy).clip(0, y_end)
        bone |= hu[x, y, points[:, 2]] > BONE_HU
    return (points[bone] * steps + low) @ affine[:3, :3].T + affine[:3, 3]


def _side(world: np.ndarray, plane: tuple[np.ndarray, float] | None) -> str | None:
    if plane is None:
        return None
    right = float((world @ plane[0] > plane[1]).mean())
    if min(right, 1 - right) >= MIDLINE_SHARE:
        return "midline"
    return "right" if right > 0.5 else "left"
