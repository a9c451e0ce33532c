"""What `draw_blood` gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from tools.phantom.anatomy.anatomy import Anatomy


@dataclass
class Blood:
    """All blood of one head, on the grid of its anatomy.

    Attributes:
        types: hemorrhage types, keys of `tools.phantom.kinds.CLASSES`.
        shares: (T, X, Y, Z) float32 from 0 to 1, share of each voxel that is blood of each type; they sum to
            at most 1. T is 0 in a head without blood.
        hu: (X, Y, Z) float32, HU of the blood in a voxel, read where some share is above 0.
        anatomy: the head after mass effect, edema and everything else that blood does to tissue.
        edema: (X, Y, Z) float32 from 0 to 1, share of edema; already in `anatomy.hu`.
        displacement: (3, x, y, z) float32 mm on coarse voxels (`spaces.COARSE` mm) of the box of the spaces,
            or None: tissue at p was at p + u(p) before the mass effect.
        truth: plain numbers for the truth file; `asked_ml` and `blood_hu` are dictionaries by type.
    """

    types: tuple[str, ...]
    shares: torch.Tensor
    hu: torch.Tensor
    anatomy: Anatomy
    truth: dict[str, Any] = field(default_factory=dict)
    edema: torch.Tensor | None = None
    displacement: torch.Tensor | None = None
