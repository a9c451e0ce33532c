"""Where a method sees blood that is none: beside the lesion, in the ventricles, near the skull, deep inside.

Synthetic heads come with their ventricles and brain, so that a wrong prediction can be told by its place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from tools.core.markdown import table
from tools.core.names import case_name

__all__ = ["PLACES", "by_place", "false_positive_table"]

NEAR_MM = 7.0  # as wide as the band around the lesion that border patches are centred in
PLACES = ("found", "missed", "beside the lesion", "in ventricles", "near the skull", "deeper")

Mask = NDArray[np.bool_]


def by_place(
    predicted: Mask, lesion: Mask, ventricles: Mask, brain: Mask, spacing: tuple[float, float, float]
) -> dict[str, float]:
    """Volumes in mL, by `PLACES`; each voxel counts once, for the first place that it fits.

    Args:
        predicted, lesion, ventricles, brain: bool, (X, Y, Z).
        spacing: size of a voxel in mm.
    """
    wrong = predicted & ~lesion
    beside = wrong & (distance_transform_edt(~lesion, spacing) <= NEAR_MM if lesion.any() else False)
    in_ventricles = wrong & ~beside & ventricles
    rest = wrong & ~beside & ~in_ventricles
    near_skull = rest & (distance_transform_edt(brain, spacing) <= NEAR_MM)
    places = (predicted & lesion, lesion & ~predicted, beside, in_ventricles, near_skull, rest & ~near_skull)
    millilitres = float(np.prod(spacing)) / 1000
    return {name: float(mask.sum()) * millilitres for name, mask in zip(PLACES, places, strict=True)}


def false_positive_table(datalist: Path, runs: Mapping[str, Path]) -> list[str]:
    """Mean volumes per head, in mL.

    Args:
        datalist: of the synthetic heads, see `tools.phantom.write_phantoms`; its entries name the masks
            `label`, `ventricles` and `brain`.
        runs: folder of each row's runs, below which an evaluation left `predictions/CASE_seg.nii.gz`.

    Returns:
        lines of a table; none if there are no predictions.
    """
    content, lines = json.loads(datalist.read_text()), []
    cases = {str(item["case"]): item for item in [*content["training"], *content["testing"]]}
    for name, folder in runs.items():
        found = sorted(folder.rglob("predictions/*_seg.nii.gz"))
        heads = [_of_head(datalist.parent, cases[_case(path)], path) for path in found]
        if heads:
            means = (np.mean([head[place] for head in heads]) for place in PLACES)
            lines.append([name, *(f"{mean:.2f}" for mean in means)])
    return table(["", *PLACES], lines) if lines else []


def _case(prediction: Path) -> str:
    return case_name(prediction).removesuffix("_seg")


def _of_head(folder: Path, item: Mapping[str, Any], prediction: Path) -> dict[str, float]:
    """Volumes of one head; its masks are named relative to the folder."""
    image: Any = nib.load(prediction)
    files: list[Any] = [nib.load(folder / item[name]) for name in ("label", "ventricles", "brain")]
    found, lesion, ventricles, brain = (np.asarray(file.dataobj) != 0 for file in (image, *files))
    x, y, z = map(float, image.header.get_zooms()[:3])
    return by_place(found, lesion, ventricles, brain, (x, y, z))
