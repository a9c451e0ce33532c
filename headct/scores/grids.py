"""Label maps of any tool read, and brought onto the grid of their truth."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from monai.data import MetaTensor

from headct.datasets.masks import resampled
from tools.core.errors import InputError
from tools.core.names import is_picture
from tools.slices.read import read_grey
from tools.volumes.grid import grid_fault, whole_values
from tools.volumes.read import read_label

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
    """Label map as (1, spatial...), volumes in RAS; of 0 and 255 alone (`picture`) becomes 0 and 1.

    Raises:
        InputError: see `tools.volumes.read.read_label` and `tools.slices.read.read_grey`.
    """
    path = Path(path)
    if not is_picture(path):
        return read_label(path, picture=picture, single=True)
    values, fault = whole_values(read_grey(path).T, picture)
    if fault:
        raise InputError(f"{path}: {fault}")
    return MetaTensor(torch.from_numpy(values)[None])
