"""Distances between the surfaces of two masks, each surface element weighted by its area.

The surface elements are those of DeepMind's surface-distance package (Nikolov 2018): at every corner where
eight voxels meet, the 2x2x2 pattern of inside and outside gives the area (MONAI brings the table); distances
run from corner to corner. Where the package works on dense distance maps, distances are searched only at
surface corners here, in double precision and in integer steps times spacing, so that a tolerance that equals
the voxel size (0.42 mm) is decided as in the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from monai.metrics.utils import ENCODING_KERNEL, _get_neighbour_code_to_normals_table
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from tools.core.errors import InputError
from tools.core.tensors import as_mask, bounding_box

# A tree search is fast near the goal; from this distance on a dense distance map, equally exact, is faster.
FAR_MM = 20.0


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances in mm and areas in mm2 of the surface elements, sorted by distance; float64 arrays.

    Without one of the surfaces all distances of the other are infinite.
    """

    truth_to_pred: np.ndarray
    pred_to_truth: np.ndarray
    truth_area: np.ndarray
    pred_area: np.ndarray

    def surface_dice(self, tolerance_mm: float) -> float:
        """Share of both surfaces' area within the tolerance of the other; both empty 1, one empty 0."""
        total = self.truth_area.sum() + self.pred_area.sum()
        if total == 0:
            return 1.0
        near_truth = self.truth_area[self.truth_to_pred <= tolerance_mm].sum()
        near_pred = self.pred_area[self.pred_to_truth <= tolerance_mm].sum()
        return float((near_truth + near_pred) / total)

    def hausdorff(self, percentile: float = 100) -> float:
        """Larger of the two directed distances at a percentile of area, mm; both empty 0, one empty inf."""
        if len(self.truth_area) == 0 or len(self.pred_area) == 0:
            return 0.0 if len(self.truth_area) == len(self.pred_area) else float("inf")
        return max(
            _percentile(self.truth_to_pred, self.truth_area, percentile),
            _percentile(self.pred_to_truth, self.pred_area, percentile),
        )


def compute_surface_distances(
    pred: torch.Tensor | np.ndarray, truth: torch.Tensor | np.ndarray, spacing: Sequence[float]
) -> SurfaceDistances:
    """Surface distances of one pair of masks.

    Args:
        pred, truth: masks in shape (X, Y, Z), any dtype and device; their box is copied to the host.
        spacing: voxel edge lengths in mm.
    """
    pred, truth = as_mask(pred), as_mask(truth)
    if pred.shape != truth.shape or pred.ndim != 3 or len(spacing) != 3:
        raise InputError(
            "surface distances: expected two masks of the same shape (X, Y, Z) and three edge lengths, "
            f"found {tuple(pred.shape)}, {tuple(truth.shape)} and {len(spacing)}"
        )
    box = bounding_box(pred | truth) or (slice(0, 0),) * 3  # corners outside it have no foreground voxel
    areas = _corner_areas(tuple(float(s) for s in spacing))
    pred_code, truth_code = (_corner_codes(x[box].cpu().numpy()) for x in (pred, truth))
    on_pred, on_truth = ((code != 0) & (code != 255) for code in (pred_code, truth_code))
    scale = np.asarray(spacing, dtype=np.float64)
    to_pred = _nearest(on_truth, on_pred, scale)
    to_truth = _nearest(on_pred, on_truth, scale)
    truth_to_pred, truth_area = _sort(to_pred, areas[truth_code[on_truth]])
    pred_to_truth, pred_area = _sort(to_truth, areas[pred_code[on_pred]])
    return SurfaceDistances(truth_to_pred, pred_to_truth, truth_area, pred_area)


def _corner_codes(mask: np.ndarray) -> np.ndarray:
    """The 8-bit pattern of the voxels around every corner of the grid: uint8, one longer per axis."""
    padded = np.pad(mask.astype(np.uint8), 1)
    n = [s - 1 for s in padded.shape]
    code = np.zeros(n, dtype=np.uint8)
    for (i, j, k), bit in np.ndenumerate(np.asarray(ENCODING_KERNEL[3], dtype=np.uint8)):
        code += bit * padded[i : i + n[0], j : j + n[1], k : k + n[2]]
    return code


@lru_cache(maxsize=64)
def _corner_areas(spacing: tuple[float, ...]) -> np.ndarray:
    """Area in mm2 of each of the 256 patterns, float64 (MONAI's own table of areas is float32)."""
    # (256, 4, 3), multiples of one eighth and so exact
    normals = np.asarray(_get_neighbour_code_to_normals_table(), dtype=np.float64)
    a, b, c = spacing
    return np.linalg.norm(normals * np.array([b * c, a * c, a * b]), axis=-1).sum(-1)


def _nearest(start: np.ndarray, goal: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Distance in mm from every true corner of `start` to the nearest true corner of `goal`."""
    distance = np.zeros(np.count_nonzero(start))
    if not goal.any():
        return distance + np.inf
    away = ~goal[start]  # a corner on both surfaces is at distance 0
    points, targets = np.argwhere(start)[away], np.argwhere(goal)
    if not len(points):
        return distance
    tree = KDTree(targets * scale, leafsize=32)
    sample = points[:: len(points) // 32 + 1]
    if len(points) * len(targets) > goal.size and np.median(tree.query(sample * scale)[0]) > FAR_MM:
        distance[away] = distance_transform_edt(~goal, sampling=scale)[start][away]
        return distance
    _, index = tree.query(points * scale, workers=-1)
    # integer steps times spacing: a difference of two scaled positions would round across the tolerance
    distance[away] = np.sqrt((((points - targets[index]) * scale) ** 2).sum(-1))
    return distance


def _sort(distance: np.ndarray, area: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((area, distance))
    return distance[order], area[order]


def _percentile(distance: np.ndarray, area: np.ndarray, percentile: float) -> float:
    share = np.cumsum(area) / area.sum()
    index = int(np.searchsorted(share, percentile / 100))
    return float(distance[min(index, len(distance) - 1)])
