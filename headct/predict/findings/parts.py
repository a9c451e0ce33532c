"""Lesions as regions that do not overlap, each of one type: what a segment of DICOM SEG can be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from headct.predict.findings.lesions import largest_diameter_mm, largest_first
from headct.predict.results import Case
from tools.core.tensors import bounding_box, voxel_ml, voxel_spacing

__all__ = ["Part", "find_parts"]


@dataclass(frozen=True)
class Part:
    """What a lesion has of one type, and in most cases the whole of it; or all spots of one type too small
    to be counted.

    Attributes:
        number: of the region in the map of all, from 1.
        lesion: number of the lesion in the report; 0 for what is too small.
        kind: name of its class.
        volume_ml, diameter_mm, mean_hu: see `headct.predict.results.Lesion`; 0 for what is too small.
        side: of the lesion.
        whole: whether the lesion has no other type.
    """

    number: int
    lesion: int
    kind: str
    volume_ml: float = 0.0
    diameter_mm: float = 0.0
    mean_hu: float = 0.0
    side: str | None = None
    whole: bool = True

    @property
    def name(self) -> str:
        """Such as `lesion 1, subdural`, as it stands in every object."""
        return f"lesion {self.lesion}, {self.kind}" if self.lesion else f"smaller spots, {self.kind}"


def find_parts(
    label: np.ndarray, hu: np.ndarray, affine: np.ndarray, case: Case
) -> tuple[np.ndarray, list[Part]]:
    """Number the lesions of a case by type.

    Args:
        label: class values (X, Y, Z), RAS, as the case was measured.
        hu: the scan, same shape.
        affine: voxel to world in mm.
        case: its lesions and the names of its classes.

    Returns:
        numbers of the parts, same shape, uint16, and the parts; without any hemorrhage a part of no voxels
        for each class, since a DICOM SEG cannot have no segment.
    """
    numbers = np.zeros(label.shape, np.uint16)
    parts: list[Part] = []
    box = bounding_box(torch.from_numpy(np.ascontiguousarray(label > 0)))
    if box is None:
        return numbers, [Part(i, 0, kind) for i, kind in enumerate(case.classes.values(), start=1)]
    inside, values, hu = numbers[box], np.ascontiguousarray(label[box]), hu[box]
    components, boxes, _, order = largest_first(values)
    one_ml, spacing = voxel_ml(affine), np.array(voxel_spacing(torch.from_numpy(affine)))
    for lesion, i in zip(case.lesions, order, strict=False):  # the others are too small
        where = boxes[i]
        lies = components[where] == i
        kinds = np.unique(values[where][lies]).tolist()
        for value in kinds:
            mask = lies & (values[where] == value)
            number = len(parts) + 1
            inside[where][mask] = number
            kind = case.classes.get(value, f"class {value}")
            part = Part(
                number, lesion.number, kind, float(mask.sum()) * one_ml,
                largest_diameter_mm(mask, spacing), float(hu[where][mask].mean()), lesion.side,
                len(kinds) == 1,
            )  # fmt: skip
            parts.append(part)
    rest = (values > 0) & (inside == 0)
    for value in np.unique(values[rest]).tolist():
        parts.append(Part(len(parts) + 1, 0, case.classes.get(value, f"class {value}")))
        inside[rest & (values == value)] = parts[-1].number
    return numbers, parts
