"""Several bundles' label maps as one: the majority of them, voxel by voxel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from headct.predict.model.bundle import Segmentation

__all__ = ["RULE", "consensus"]

RULE = (
    "more than half of the models call the voxel hemorrhage; where just half do, their mean "
    "probability decides, against the mean of their thresholds"
)


def consensus(parts: Sequence[Segmentation]) -> Any:
    """The label map (X, Y, Z) uint8 of one bundle as it is, of several 1 where `RULE` holds, else 0."""
    if len(parts) == 1:
        return parts[0].label
    votes = torch.stack([part.label > 0 for part in parts]).sum(0) * 2
    mean = torch.stack([part.probability for part in parts]).mean(0)
    least = sum(part.threshold for part in parts) / len(parts)
    return ((votes > len(parts)) | ((votes == len(parts)) & (mean >= least))).to(torch.uint8)
