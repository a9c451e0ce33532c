"""Where a method sees blood that is none: beside the lesion, in the ventricles, near the skull, deep inside.

Synthetic heads come with their ventricles and brain, so that a wrong prediction can be told by its place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from tools.core.markdown import table
from tools.core.names import case_name
from tools.core.tables import Row

__all__ = ["PLACES", "HeadPlaces", "false_positive_table", "places_by_head"]

NEAR_MM = 7.0  # as wide as the band around the lesion that border patches are centred in
PLACES = ("found", "missed", "beside the lesion", "in ventricles", "near the skull", "deeper")

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class HeadPlaces:
    """Where the places of a head are, all bool (X, Y, Z); distances are measured once for many predictions.

    Args:
        lesion, ventricles: of the truth.
        beside: within `NEAR_MM` of the lesion.
        near_skull: within `NEAR_MM` of what is no brain.
        millilitres: of a voxel.
    """

    lesion: Mask
    ventricles: Mask
    beside: Mask
    near_skull: Mask
    millilitres: float

    @classmethod
    def of(
        cls, lesion: Mask, ventricles: Mask, brain: Mask, spacing: tuple[float, float, float]
    ) -> HeadPlaces:
        """From masks (X, Y, Z) and the size of a voxel in mm."""
        near = distance_transform_edt(~lesion, spacing) <= NEAR_MM if lesion.any() else np.zeros_like(lesion)
        skull = distance_transform_edt(brain, spacing) <= NEAR_MM
        return cls(lesion, ventricles, near, skull, float(np.prod(spacing)) / 1000)

    def volumes(self, predicted: Mask) -> dict[str, float]:
        """Volumes in mL, by `PLACES`; each voxel counts once, for the first place that it fits."""
        wrong = predicted & ~self.lesion
        beside = wrong & self.beside
        in_ventricles = wrong & ~beside & self.ventricles
        rest = wrong & ~beside & ~in_ventricles
        near, deeper = rest & self.near_skull, rest & ~self.near_skull
        places = (predicted & self.lesion, self.lesion & ~predicted, beside, in_ventricles, near, deeper)
        return {name: float(mask.sum()) * self.millilitres for name, mask in zip(PLACES, places, strict=True)}


def places_by_head(datalist: Path, runs: Mapping[str, Sequence[Path]]) -> dict[str, list[Row]]:
    """Volumes of each head in mL, the mean over the runs of a row.

    Args:
        datalist: of the synthetic heads, see `tools.phantom.write_phantoms`; its entries name the masks
            `label`, `ventricles` and `brain`.
        runs: folders of each row's runs, below which an evaluation left `predictions/CASE_seg.nii.gz`.

    Returns:
        by row a dictionary for each head that has predictions, with `case`, `ivh` and `PLACES`.
    """
    content = json.loads(datalist.read_text())
    cases = {str(item["case"]): item for item in [*content["training"], *content["testing"]]}
    places: dict[str, HeadPlaces] = {}
    rows: dict[str, list[Row]] = {}
    for name, folders in runs.items():
        found: dict[str, list[dict[str, float]]] = {}
        for path in sorted(path for folder in folders for path in folder.rglob("predictions/*_seg.nii.gz")):
            case = case_name(path).removesuffix("_seg")
            if case not in places:
                places[case] = _places(datalist.parent, cases[case])
            image: Any = nib.load(path)
            found.setdefault(case, []).append(places[case].volumes(np.asarray(image.dataobj) != 0))
        rows[name] = [
            {
                "case": case,
                "ivh": cases[case].get("ivh"),
                **{place: float(np.mean([volumes[place] for volumes in several])) for place in PLACES},
            }
            for case, several in found.items()
        ]
    return rows


def false_positive_table(rows: Mapping[str, Sequence[Row]]) -> list[str]:
    """Lines of a table of the mean volumes per head, in mL; none without heads.

    Args:
        rows: of `places_by_head`.
    """
    lines = [
        [name, *(f"{np.mean([row[place] for row in own]):.2f}" for place in PLACES)]
        for name, own in rows.items()
        if own
    ]
    return table(["", *PLACES], lines) if lines else []


def _places(folder: Path, item: Mapping[str, Any]) -> HeadPlaces:
    """Places of one head, whose masks are named relative to the folder."""
    files: list[Any] = [nib.load(folder / item[name]) for name in ("label", "ventricles", "brain")]
    lesion, ventricles, brain = (np.asarray(file.dataobj) != 0 for file in files)
    x, y, z = map(float, files[0].header.get_zooms()[:3])
    return HeadPlaces.of(lesion, ventricles, brain, (x, y, z))
