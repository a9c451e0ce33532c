"""Size and shape of the lesions of a test set: which heads have a small one, and which an irregular one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.spatial import ConvexHull

__all__ = ["measured_lesion", "solidity"]


def solidity(mask: NDArray[np.bool_]) -> float:
    """Share of its convex hull that the largest component fills: 1 for a box or a ball, less with lobes and
    bays.

    Args:
        mask: bool, (X, Y, Z); voxels may have any size, since a hull and what it holds stretch alike.

    Returns:
        0 to 1; NaN where the mask is empty.
    """
    parts, count = label(mask)
    if not count:
        return float("nan")
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    voxels = np.argwhere(largest)
    corners = voxels[:, None, :] + np.array(np.meshgrid((0, 1), (0, 1), (0, 1))).reshape(3, -1).T[None]
    hull = ConvexHull(np.unique(corners.reshape(-1, 3), axis=0))
    return float(len(voxels) / hull.volume)


def measured_lesion(path: Path) -> dict[str, float]:
    """Volume in mL and solidity of the lesion in a label map (NIfTI)."""
    image: Any = nib.load(path)
    mask = np.asarray(image.dataobj) != 0
    millilitres = float(np.prod(image.header.get_zooms()[:3])) / 1000 * int(mask.sum())
    return {"volume_ml": millilitres, "solidity": solidity(mask)}
