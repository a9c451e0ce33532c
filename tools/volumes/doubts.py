"""What is doubtful about a scan before any network sees it: its values, how it lies, what it shows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Orientation

from tools.core.errors import InputError
from tools.volumes.brain import extract_brain
from tools.volumes.coverage import COARSE_MM, coverage_doubts
from tools.volumes.levels import level_doubts
from tools.volumes.orientation import default_affine, orientation_doubts

__all__ = ["scan_doubts"]


def scan_doubts(volume: MetaTensor, stated: bool = True) -> list[str]:
    """Sentences on one scan, for whoever reads its result.

    Args:
        volume: (1, X, Y, Z), HU, as `tools.volumes.read.read_volume` gives it.
        stated: whether what wrote the file is known to state how the head lies, as DICOM does.
    """
    values = volume.as_tensor()[0].cpu().numpy()
    spacing = [float(mm) for mm in volume.pixdim]
    texts = level_doubts(values, spacing)
    if not stated:
        texts += default_affine(volume.affine.numpy(), values.shape)
    ras: Any = Orientation(axcodes="RAS", labels=None)(volume)
    step = [max(1, round(COARSE_MM / float(mm))) for mm in ras.pixdim]
    affine = ras.affine.numpy() @ np.diag([*step, 1.0])
    coarse = ras.as_tensor()[(slice(None), *(slice(None, None, n) for n in step))].contiguous()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            brain = extract_brain(coarse, affine).numpy()[0]
        except InputError:
            return [*texts, "No brain was found: this may be no head, or a part of one."]
    hu = coarse.numpy()[0]
    mm = np.linalg.norm(affine[:3, :3], axis=0)
    return [*texts, *orientation_doubts(hu, brain, affine), *coverage_doubts(hu, brain, mm)]
