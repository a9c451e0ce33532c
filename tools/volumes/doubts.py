"""What is doubtful about a scan before any network sees it: its values, how it lies, what it shows.

Three questions, each answered by sentences for whoever reads the result: whether every slice stands on the
level of its neighbours (a wrong rescale lifts a whole slice); whether the anatomy lies as the affine says;
whether the scan shows all of the brain.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Orientation
from nibabel.orientations import io_orientation
from scipy import ndimage

from tools.core.errors import InputError
from tools.core.names import is_nifti
from tools.volumes.brain import extract_brain
from tools.volumes.grid import moved_mm
from tools.volumes.read import open_nifti

COARSE_MM = 2.0  # finer detail does not matter here
COVERED_MM = 100.0  # a brain is about 120 mm high
CUT_CM2 = 15.0  # of brain on the last slice: the vertex is outside
SIDE_CM2 = 3.0  # of brain at a side of the field of view
PADDING_HU = -1024.0  # outside a round field of view, see `tools.volumes.read`
TISSUE_HU = -200.0
EDGE_MM = 3.0  # from the field's edge; skull and scalp together are thicker
SIDES = (("on the left", "on the right"), ("at the back", "in front"))

JUMP_HU = 300.0  # between neighbouring slices; those of a head differ by less than 100 as a whole
LARGE = 0.2  # share of a slice that is tissue in both neighbours, where tissue is compared alone
LEVEL_MM = 4.0  # in plane, of the voxels whose levels are compared

LONGER = 0.93  # a brain's length from front to back over its width and height; real ones are 1.1 and more
SLAB_MM = 45.0  # of brain: less, at the base, is as wide as it is long
WHOLE_MM = 90.0  # of brain from base to vertex: below, its height says nothing
BRAIN_ML = (350.0, 2300.0)  # of a scan that shows all of it, newborns to the largest
AIR_ML = 1.5  # in nose and sinuses, near the midline, that is enough to tell front from back
ASIDE_MM = 15.0  # behind or above the brain's middle, where that air is never


def scan_doubts(volume: MetaTensor, stated: bool = True) -> list[str]:
    """Sentences on one scan, for whoever reads its result.

    Args:
        volume: (1, X, Y, Z), HU, as `tools.volumes.read.read_volume` gives it.
        stated: whether what wrote the file is known to state how the head lies, as DICOM does.
    """
    texts = level_doubts(*in_slices(volume))
    if not stated:
        texts += default_affine(volume.affine.numpy(), volume.shape[1:])
    ras: Any = Orientation(axcodes="RAS", labels=None)(volume)
    step = [max(1, round(COARSE_MM / float(mm))) for mm in ras.pixdim]
    affine = ras.affine.numpy() @ np.diag([*step, 1.0])
    small = ras.as_tensor()[(slice(None), *(slice(None, None, n) for n in step))].contiguous()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            brain = extract_brain(small, affine).numpy()[0]
        except InputError:
            return [*texts, "No brain was found: this may be no head, or a part of one."]
    hu = small.numpy()[0]
    mm = np.linalg.norm(affine[:3, :3], axis=0)
    return [*texts, *orientation_doubts(hu, brain, affine), *coverage_doubts(hu, brain, mm)]


def in_slices(volume: MetaTensor) -> tuple[np.ndarray, list[float]]:
    """A scan (1, X, Y, Z) as (rows, columns, slices), and mm of a voxel along each axis.

    Pixels are square: slices follow each other along the axis whose two others are spaced alike, and where
    all three are, from foot to head.
    """
    spacing = [float(mm) for mm in volume.pixdim]
    up = io_orientation(volume.affine.numpy())[:, 0].tolist().index(2)
    axis = min((up, 2, 1, 0), key=lambda k: round(abs(np.subtract(*np.delete(spacing, k))) / spacing[k], 2))
    values = np.moveaxis(volume.as_tensor()[0].cpu().numpy(), axis, 2)
    return values, [*np.delete(spacing, axis), spacing[axis]]


def odd_slices(
    volume: np.ndarray, spacing: Sequence[float], tissue_too: bool = False
) -> list[tuple[int, float]]:
    """Slices whose values as a whole are far from those of most; low ones at the ends may be air.

    Args:
        volume: (X, Y, Z) HU, slices along Z.
        spacing: mm of a voxel along each axis.
        tissue_too: compare tissue alone as well, for slices that are rescaled each in its own way. Not asked
            for otherwise, since bone follows brain where a skull closes.

    Returns:
        number of each from 0, and by how many HU it is off.
    """
    slices = _coarse_slices(volume, spacing)
    level = np.zeros(len(slices))
    for k in range(1, len(slices)):
        level[k] = level[k - 1] + _step(slices[k - 1], slices[k], tissue_too)
    off = level - np.median(level)
    for order in (range(len(off)), range(len(off) - 1, -1, -1)):
        for k in order:  # where a narrow field of view leaves the head, air follows tissue
            if off[k] > -JUMP_HU:
                break
            off[k] = 0
    if tissue_too:
        off = np.where(np.abs(off) > JUMP_HU, off, _lost_tissue(slices))
    return [(k, float(hu)) for k, hu in enumerate(off) if abs(hu) > JUMP_HU]


def describe_odd(odd: Sequence[tuple[int, float]], count: int) -> str:
    """How many of `count` slices `odd_slices` found, and which is the first."""
    number, off = odd[0]
    return (
        f"{len(odd)} of {count} slices at {off:+.0f} HU beside the others (the first is number {number + 1})"
    )


def level_doubts(volume: np.ndarray, spacing: Sequence[float]) -> list[str]:
    """Sentences on the slices that `odd_slices` finds, and on blank ones between others."""
    blank, count = _blank_slices(_coarse_slices(volume, spacing)), volume.shape[-1]
    texts = []
    if odd := [(k, off) for k, off in odd_slices(volume, spacing) if k not in blank]:
        found = describe_odd(odd, count)
        texts.append(f"Values do not go on from slice to slice: {found}. They may be wrong, or empty.")
    if blank:
        texts.append(
            f"{len(blank)} of {count} slices are blank between others (the first is number {blank[0] + 1}): "
            "bleeding there cannot be seen."
        )
    return texts


def _blank_slices(slices: np.ndarray) -> list[int]:
    """Numbers from 0 of the slices of one value, or of air alone, between others."""
    low, high = slices.min((1, 2)), slices.max((1, 2))
    shown = np.flatnonzero((low < high) & (high > TISSUE_HU)).tolist()
    return sorted(set(range(shown[0], shown[-1])) - set(shown)) if shown else []


def _coarse_slices(volume: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Slices (Z, X, Y), float32, of which every so many voxels are kept."""
    every = [max(1, int(LEVEL_MM / float(mm))) for mm in spacing[:2]]
    return np.moveaxis(volume, 2, 0)[:, :: every[0], :: every[1]].astype(np.float32)


def _lost_tissue(slices: np.ndarray) -> np.ndarray:
    """HU by which slices without tissue lie below one with it, where tissue is above and below them."""
    share = (slices > TISSUE_HU).mean((1, 2))
    off = np.zeros(len(slices))
    for k in range(1, len(slices) - 1):
        around = min(share[:k].max(), share[k + 1 :].max())
        if around > LARGE and share[k] < 0.3 * around:
            good = slices[int(share[:k].argmax())]
            off[k] = np.median((slices[k] - good)[good > TISSUE_HU])
    return off


def _step(one: np.ndarray, other: np.ndarray, tissue_too: bool) -> float:
    """HU by which one slice lies above another as a whole; 0 for what heads do."""
    step = float(np.median(other - one))
    both = (one > TISSUE_HU) & (other > TISSUE_HU)
    if tissue_too and both.mean() > LARGE and abs(step) <= JUMP_HU / 2:
        step = float(np.median((other - one)[both]))
    return step if abs(step) > JUMP_HU / 2 else 0.0


def orientation_doubts(hu: np.ndarray, brain: np.ndarray, affine: np.ndarray) -> list[str]:
    """Sentences on what contradicts the affine; left and right alone cannot be told apart by anatomy.

    Args:
        hu: (X, Y, Z), RAS by its affine.
        brain: mask of the same shape.
        affine: voxel to world (RAS+ mm).
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    hu, brain, spacing = _coarse(hu, brain, spacing)
    points = np.argwhere(brain) * spacing
    if len(points) < 100:
        return []
    spread, middle = points.std(0), points.mean(0)
    levels = np.flatnonzero(brain.any((0, 1)))
    height = len(levels) * float(spacing[2])
    doubts = []
    wide = height >= SLAB_MM and spread[1] < LONGER * spread[0]
    if wide or (height >= WHOLE_MM and spread[1] < LONGER * spread[2]):
        doubts.append("the brain is not longest from front to back")
    air = _air_mm(hu, spacing, middle)
    if air is not None and air[1] < -ASIDE_MM:
        doubts.append("the air of nose and sinuses lies behind the brain")
    if air is not None and air[2] > ASIDE_MM:
        doubts.append("the air of nose and sinuses lies above the brain")
    ml = len(points) * float(np.prod(spacing)) / 1000
    if height >= WHOLE_MM and not BRAIN_ML[0] <= ml <= BRAIN_ML[1]:
        doubts.append(f"the brain has {ml:.0f} mL")
    if not doubts:
        return []
    return [
        f"The head does not lie as the file says ({', '.join(doubts)}): no side is stated, and volumes hold "
        "only if the voxel size does. Check the affine."
    ]


def default_affine(affine: np.ndarray, shape: Sequence[int]) -> list[str]:
    """A sentence, where an affine is what programs write that were told none.

    These are axes along the voxels with the first voxel at 0 (ITK, NumPy), or NIfTI's own (X to the left, the
    middle of the volume at 0). No scanner puts either exactly there.

    Args:
        affine: voxel to world (RAS+ mm), of a file whose format does not oblige it to be true.
        shape: (X, Y, Z).
    """
    mm = np.diag(affine)[:3]
    if np.abs(affine[:3, :3] - np.diag(mm)).max() > 1e-6:
        return []
    middle = affine[:3, 3] + (np.array(shape) - 1) / 2 * mm
    if affine[:3, 3].any() and not (mm[0] < 0 < mm[1] and np.abs(middle).max() < 1e-3):
        return []
    text = (
        "The affine of the file is a default one and says nothing about how the head lies: no side is stated."
    )
    if (np.abs(mm) == 1).all():
        text += " The voxel size of 1 mm, and so every volume, may be a default too."
    return [text]


def form_doubts(path: str | Path) -> list[str]:
    """A sentence, where the two affines that NIfTI has room for, sform and qform, lie apart.

    A qform holds no shear, as of a tilted gantry: it is compared with what of the sform one can hold.
    """
    if not is_nifti(path) or Path(path).is_dir():
        return []
    header = open_nifti(Path(path)).header
    sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    if sform is None or qform is None:
        return []
    header.set_qform(sform, strip_shears=True)
    moved = moved_mm(header.get_data_shape()[:3], header.get_qform(), qform)
    if not moved:
        return []
    return [
        f"The file says in two ways how the head lies, up to {moved:.3g} mm apart: its sform was taken, not "
        "its qform. Sides and volumes hold only if that is right."
    ]


def _air_mm(hu: np.ndarray, spacing: np.ndarray, middle: np.ndarray) -> np.ndarray | None:
    """mm from the brain's middle to that of the air within the head, near the midline; None without any."""
    step = [max(1, round(2 / float(mm))) for mm in spacing]
    small = hu[tuple(slice(None, None, s) for s in step)]
    mm = spacing * step
    head = small > -400
    closed = np.stack([ndimage.binary_fill_holes(head[..., k]) for k in range(head.shape[2])], -1)
    air = closed & (small < -500)
    where = np.argwhere(air) * mm - middle
    where = where[np.abs(where[:, 0]) < 25]
    if len(where) * float(np.prod(mm)) / 1000 < AIR_ML:
        return None
    return np.median(where, axis=0)


def coverage_doubts(hu: np.ndarray, brain: np.ndarray, spacing: np.ndarray) -> list[str]:
    """Sentences on what of the brain lies outside the scan.

    Args:
        hu: (X, Y, Z), RAS, nowhere below -1024.
        brain: mask of the same shape, not empty.
        spacing: voxel edge lengths in mm.
    """
    hu, brain, spacing = _coarse(hu, brain, spacing)
    area = brain.sum((0, 1)) * float(spacing[0] * spacing[1]) / 100
    slices = np.flatnonzero(area > 0)
    texts = []
    height = (slices[-1] - slices[0] + 1) * float(spacing[2])
    if height < COVERED_MM:
        texts.append(f"Only a slab of {height:.0f} mm shows brain: bleeding outside it cannot be seen.")
    if area[-1] > CUT_CM2:
        texts.append(f"The top of the brain is not in the scan ({area[-1]:.0f} cm2 on the last slice).")
    if area[0] > area.max() / 2:
        texts.append(f"The base of the brain is not in the scan ({area[0]:.0f} cm2 on the first slice).")
    cut = [
        f"{SIDES[axis][end]} ({cm2:.0f} cm2)"
        for axis in (0, 1)
        for end in (0, 1)
        if (cm2 := _cut_cm2(hu, brain, spacing, axis, end)) > SIDE_CM2
    ]
    if cut:
        texts.append(
            f"The field of view cuts the brain {', '.join(cut)}: bleeding beyond it cannot be seen, and what "
            "is found there is too small."
        )
    return texts


def _coarse(
    hu: np.ndarray, brain: np.ndarray, spacing: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every so many voxels of a scan and its mask, that lie about 2 mm apart; and their distances in mm."""
    steps = [max(1, round(COARSE_MM / float(mm))) for mm in spacing]
    some = tuple(slice(None, None, n) for n in steps)
    return hu[some], brain[some], np.asarray(spacing) * steps


def _cut_cm2(hu: np.ndarray, brain: np.ndarray, spacing: np.ndarray, axis: int, end: int) -> float:
    """cm2 of brain at one side, where the field of view begins: after the padding of each row of voxels."""
    levels = np.flatnonzero(brain.any((0, 1)))
    hu, brain = (np.moveaxis(part[:, :, levels], axis, 0) for part in (hu, brain))
    if end:
        hu, brain = hu[::-1], brain[::-1]
    first = (hu > PADDING_HU).argmax(0)
    deeper = np.minimum(first + max(1, round(EDGE_MM / float(spacing[axis]))), len(hu) - 1)
    at_edge = np.take_along_axis(hu, first[None], 0)[0] > TISSUE_HU
    near = np.take_along_axis(brain, deeper[None], 0)[0]
    return float((at_edge & near).sum()) * float(spacing[1 - axis] * spacing[2]) / 100
