"""A real scan without blood as an `Anatomy`: what is where in it, found by moving a label map onto it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from tools.core.errors import InputError
from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.anatomy import Anatomy, Tissue
from tools.phantom.anatomy.maps import read_map, stem
from tools.phantom.anatomy.prepare import PreparedMap, prepare, signed_depth
from tools.phantom.anatomy.render import SliceSampler
from tools.phantom.anatomy.warp import gaussian, sample, take
from tools.phantom.background.correct import correct_labels
from tools.phantom.background.registration import (
    Alignment,
    Volume,
    first_guess,
    fit_affine,
    fit_velocity,
    looks,
    pictures,
)
from tools.phantom.geometry import Pose
from tools.phantom.scanner.closed_form import blur_slices
from tools.volumes.brain import extract_brain
from tools.volumes.read import read_volume

#: mm around the inside of the skull that are kept.
MARGIN = 16.0

#: Grid in mm on which scan and map are compared at most finely.
COMPARED_MM = 2.5

#: HU from which the border of the brain's mask is mostly bone.
BONY_HU = 120.0

#: HU that soft tissue and fluid do not exceed, either way.
SOFT_HU = 90.0

#: HU per mm from which a slope is an edge and no noise.
EDGE = 4.0


@dataclass
class Background:
    """A scan and what is known about it.

    Attributes:
        name: of the file or folder.
        hu: (X, Y, Z) float32, the scan as it is.
        affine: 4x4, voxel to RAS world mm.
        spacing: mm.
        brain: (X, Y, Z) bool, inside of the skull.
        anatomy: the scan in head coordinates; its `hu` is the scan without noise.
        pose: of the head in the world.
    """

    name: str
    hu: torch.Tensor
    affine: np.ndarray
    spacing: tuple[float, float, float]
    brain: torch.Tensor
    anatomy: Anatomy
    pose: Pose


def without_noise(hu: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
    """Slices (X, Y, Z) smoothed in-plane where they are even; edges stay."""

    def smooth(mm: float) -> torch.Tensor:
        return blur_slices(hu, (mm / spacing[0], mm / spacing[1]))

    guide = smooth(1.0)
    slope = sum(torch.gradient(guide, spacing=float(spacing[a]), dim=a)[0] ** 2 for a in (0, 1)).sqrt()
    edge = ((slope - EDGE) / EDGE).clamp(0, 1)
    return edge * smooth(0.4) + (1 - edge) * smooth(1.4)


def pose_of(matrix: np.ndarray) -> Pose:
    """Rigid part of a world-to-head matrix, as the pose of the head in the world."""
    inverse = np.linalg.inv(matrix)
    u, _, v = np.linalg.svd(inverse[:3, :3])
    r = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
    return Pose(
        yaw=float(np.degrees(np.arctan2(-r[0, 1], r[1, 1]))),
        pitch=float(np.degrees(np.arcsin(np.clip(r[2, 1], -1, 1)))),
        roll=float(np.degrees(np.arctan2(-r[2, 0], r[2, 2]))),
        shift=tuple(inverse[:3, 3].tolist()),
    )


def align(scan: Volume, cavity: torch.Tensor, affine: np.ndarray, prepared: PreparedMap) -> Alignment:
    """Move a prepared map onto the pictures of a scan."""
    head = Volume(pictures(looks(prepared.labels), prepared.cavity.float()), prepared.to_head)
    head = head.coarser(COMPARED_MM)
    inside = prepared.cavity.nonzero()[::50].double().numpy()
    points = inside @ prepared.to_head[:3, :3].T + prepared.to_head[:3, 3]
    guess = first_guess(cavity, affine, np.percentile(points, 0.5, 0), np.percentile(points, 99.5, 0))
    matrix, _ = fit_affine(scan, head, guess)
    return fit_velocity(scan, head, matrix)


def measured_tissue(labels: torch.Tensor, hu: torch.Tensor, depth: torch.Tensor) -> Tissue:
    """Medians of what a scan shows enough of, usual values for the rest."""

    def median(numbers: tuple[int, ...], usual: float) -> float:
        values = hu[L.is_in(labels, numbers) & (depth > 10)]
        return float(values.median()) if len(values) > 300 else usual

    white = median(L.WHITE, 28.0)
    return Tissue(
        grey=max(median(L.DEEP_GREY, 36.0), white + 3),
        white=white,
        csf=min(median(L.VENTRICLES, 8.0), 14.0),
        sinus=median((L.SINUS,), 54.0),
        artery=46.0,
        dura=55.0,
        muscle=58.0,
        fat=-98.0,
        bone=1300.0,
        marrow=500.0,
    )


def on_head_grid(
    clean: torch.Tensor, affine: np.ndarray, pose: Pose, grid: Anatomy, thickness: float
) -> torch.Tensor:
    """A scan on the head's grid of 1 mm, such that its slices come back when it is averaged again."""
    inverse = np.linalg.inv(affine) @ pose.matrix @ grid.affine
    matrix = torch.as_tensor(inverse, dtype=torch.float32)
    axes = [torch.arange(n, dtype=torch.float32) for n in grid.shape]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1) @ matrix[:3, :3].T + matrix[:3, 3]
    wanted, out = clean, None
    sampler = SliceSampler(grid, pose, affine, clean.shape, thickness)
    for _ in range(2):
        out = sample(wanted, index, outside=-1000.0)
        seen = sampler(out, -1000.0)
        # Beside bone and air a correction would overshoot.
        even = (clean.abs() < SOFT_HU) & (seen.abs() < SOFT_HU)
        wanted = torch.where(even, wanted + clean - seen, wanted)
    return sample(wanted, index, outside=-1000.0)


def find_anatomy(
    hu: torch.Tensor, brain: torch.Tensor, affine: np.ndarray, prepared: PreparedMap, alignment: Alignment
) -> tuple[Anatomy, Pose]:
    """The scan in head coordinates with the labels of a map that was moved onto it, corrected by HU."""
    pose = pose_of(alignment.matrix)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    inside = brain.nonzero().double().numpy()
    to_head = np.linalg.inv(pose.matrix) @ affine
    points = inside[::20] @ to_head[:3, :3].T + to_head[:3, 3]
    low = np.floor(points.min(0) - MARGIN)
    shape = tuple(int(n) for n in np.ceil(points.max(0) + MARGIN - low))
    grid_affine = np.eye(4)
    grid_affine[:3, 3] = low
    axes = [torch.arange(n, dtype=torch.float32) + float(o) for n, o in zip(shape, low, strict=True)]
    head = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    onward = torch.as_tensor(alignment.matrix @ pose.matrix, dtype=torch.float32)
    moved = alignment.moved(head @ onward[:3, :3].T + onward[:3, 3])
    back = torch.as_tensor(np.linalg.inv(prepared.to_head), dtype=torch.float32)
    index = moved @ back[:3, :3].T + back[:3, 3]
    labels = take(prepared.labels, index)
    side = sample(prepared.side.float(), index)
    to_scan = torch.as_tensor(np.linalg.inv(affine) @ pose.matrix, dtype=torch.float32)
    seen = head @ to_scan[:3, :3].T + to_scan[:3, 3]
    blurred = sample(blur_slices(hu, (1.2 / spacing[0], 1.2 / spacing[1])), seen, outside=-1000.0)
    cavity = sample(brain.float(), seen) > 0.5
    # Near the vertex the mask holds voxels that are mostly bone; calcium deeper in is no bone.
    cavity &= (blurred < BONY_HU) | (signed_depth(cavity) > 8)
    depth = signed_depth(cavity)
    labels = correct_labels(labels, blurred, depth, side)
    empty = torch.zeros(shape)
    tissue = measured_tissue(labels, blurred, depth)
    truth = {"map": prepared.name, "difference": round(alignment.difference, 5)}
    top = int(cavity.flatten(0, 1).any(0).nonzero().max())
    truth["vertex_mm"] = round(float(low[2]) + top, 1)
    anatomy = Anatomy(labels, empty, depth, side, grid_affine, 55.0, tissue, truth)
    anatomy.hu = on_head_grid(without_noise(hu, spacing), affine, pose, anatomy, float(spacing[2]))
    return anatomy, pose


def check_background(path: str | Path | None, source: object | None) -> Path | None:
    """Return the path of a background, or raise `InputError` where nothing is there or no maps go with it."""
    if path is None:
        return None
    if source is None:
        raise InputError(
            "background: expected `anatomy` to name a folder of label maps too, found procedural"
        )
    if not Path(path).exists():
        raise InputError(f"{path}: expected a scan (NIfTI file or DICOM folder) as background, found nothing")
    return Path(path)


@lru_cache(maxsize=4)
def read_background(path: Path, maps: tuple[Path, ...]) -> Background:
    """Read a scan without blood and find out what is where in it; kept for the next call.

    Args:
        path: NIfTI file, or folder with one DICOM series.
        maps: label maps; the one that can be made most alike by an affine matrix is moved onto the scan.

    Raises:
        InputError: no readable CT, no brain in it, or slices thicker than 12 mm.
    """
    volume = read_volume(path)
    affine = volume.affine.cpu().numpy().astype(float)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if spacing.max() > 12:
        raise InputError(f"{path}: expected slices of at most 12 mm, found {spacing.max():.1f} mm")
    brain = extract_brain(volume).as_tensor()[0].bool()
    hu = volume.as_tensor()[0].clone()
    scan = Volume(pictures(gaussian(hu, (1.0, 1.0, 0.0)), brain.float()), affine).coarser(COMPARED_MM)
    best: tuple[PreparedMap, Alignment] | None = None
    for map_path in maps:
        prepared = prepare(read_map(map_path))
        found = align(scan, brain, affine, prepared)
        if best is None or found.difference < best[1].difference:
            best = prepared, found
    anatomy, pose = find_anatomy(hu, brain, affine, *best)
    sizes = tuple(float(mm) for mm in spacing)
    return Background(stem(Path(path)), hu, affine, sizes, brain, anatomy, pose)
