"""What a scan shows of the head itself: brain, symmetry plane, and doubts about how it lies."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Orientation
from nibabel.orientations import apply_orientation, io_orientation

from headct.predict.input.scan import Scan
from tools.core.errors import InputError
from tools.core.tensors import plain
from tools.symmetry.plane import estimate_symmetry_plane
from tools.volumes.brain import extract_brain
from tools.volumes.doubts import default_affine, orientation_doubts

__all__ = ["Head", "find_head", "in_ras"]


@dataclass
class Head:
    """Of one scan, as arrays (X, Y, Z) in RAS.

    Attributes:
        hu: the scan, a view of it.
        brain: mask of the brain.
        affine: voxels to RAS+ mm.
        spacing: mm.
        plane: normal and offset of the mid-sagittal plane; None where none was found.
        score: how symmetric the head is at that plane.
        open_skull: the skull has a large hole, beside which the mask may be wrong.
        doubts: whether the head lies as the affine says.
    """

    hu: np.ndarray
    brain: np.ndarray
    affine: np.ndarray
    spacing: np.ndarray
    plane: tuple[np.ndarray, float] | None
    score: float | None
    open_skull: bool
    doubts: list[str]


def find_head(scan: Scan) -> Head:
    """Find brain and symmetry plane; done before anything else, since it takes a copy of the scan.

    Args:
        scan: see `headct.predict.input.scan`.

    Raises:
        InputError: there is no brain in the scan.
    """
    volume = scan.volume
    ras: Any = Orientation(axcodes="RAS", labels=None)(MetaTensor(volume.as_tensor(), affine=volume.affine))
    affine, spacing = np.asarray(ras.affine), np.asarray(ras.pixdim, dtype=float)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always", UserWarning)
        brain = plain(extract_brain(ras))[0].numpy().astype(bool, copy=False)
        plane, score = _plane(ras)
    del ras  # a copy, where the order of voxels differs; what follows is a view of the scan
    hu = in_ras(volume, volume.as_tensor()[0])
    doubts = orientation_doubts(hu, brain, affine)
    if scan.kind == "nifti":
        doubts = default_affine(volume.affine.numpy(), volume.shape[1:]) + doubts
    open_skull = any("skull" in str(warning.message) for warning in shown)
    return Head(hu, brain, affine, spacing, plane, score, open_skull, doubts)


def in_ras(volume: Any, values: Any) -> np.ndarray:
    """A view of values (X, Y, Z) on the grid of `volume`, turned to RAS."""
    return apply_orientation(values.numpy(), io_orientation(volume.affine.numpy()))


def _plane(ras: Any) -> tuple[tuple[np.ndarray, float] | None, float | None]:
    try:
        plane = estimate_symmetry_plane(ras)
    except InputError:
        return None, None
    return (plane.normal.numpy(), float(plane.offset)), float(plane.score)
