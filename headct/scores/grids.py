"""Label maps of any tool read, and brought onto the grid of their truth."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage, Orientation

from headct.datasets.masks import resampled
from tools.core.errors import InputError
from tools.volumes.grid import grid_fault, whole_values

MISMATCHES = ("error", "warn", "resample")

logger = logging.getLogger(__name__)


def on_grid_of(
    truth: MetaTensor, pred: MetaTensor, pred_file: Path, truth_file: object, on_mismatch: str
) -> MetaTensor:
    """A prediction on the grid of its truth, both (1, spatial...) in RAS; see `score`.

    Raises:
        InputError: another grid, and `on_mismatch` does not say what to do.
    """
    fault = grid_fault(truth.shape[1:], truth.affine, pred.shape[1:], pred.affine, of=truth_file)
    if not fault or (on_mismatch == "warn" and pred.shape == truth.shape):
        if fault:
            logger.warning("%s: taken voxel by voxel, although: %s", pred_file, fault)
        return MetaTensor(pred.as_tensor(), affine=truth.affine)
    if on_mismatch != "resample" or pred.ndim != 4 or truth.ndim != 4:
        raise InputError(f"{pred_file}: {fault}")
    logger.warning("%s: resampled: %s", pred_file, fault)
    moved = resampled(pred[0].numpy(), pred.affine.numpy(), truth.shape[1:], truth.affine.numpy())
    return MetaTensor(torch.from_numpy(moved)[None].float(), affine=truth.affine)


def read_label_map(path: str | Path, picture: bool = True) -> MetaTensor:
    """Label map as (1, spatial...), volumes in RAS; of 0 and 255 alone (`picture`) becomes 0 and 1."""
    try:
        image = _loader(str(path).lower().rsplit(".", 1)[-1])(path)
    except Exception as error:  # the readers raise whatever their file format's library raises
        raise InputError(
            f"{path}: expected a label map, found a file that cannot be read ({error})"
        ) from error
    if image.shape[0] != 1 or image.ndim not in (3, 4):
        raise InputError(
            f"{path}: expected a label map of 2 or 3 dimensions, found shape {tuple(image.shape)}"
        )
    values, fault = whole_values(np.asarray(image), picture)
    if fault:
        raise InputError(f"{path}: {fault}")
    whole = MetaTensor(torch.from_numpy(values), affine=image.affine)
    oriented: Any = Orientation("RAS", labels=None)(whole) if whole.ndim == 4 else whole
    return oriented


@lru_cache
def _loader(extension: str) -> LoadImage:
    reader = {"gz": "NibabelReader", "nii": "NibabelReader", "png": "PILReader"}.get(extension, "ITKReader")
    return LoadImage(reader, image_only=True, ensure_channel_first=True)
