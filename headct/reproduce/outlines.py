"""A test head with what a run found in it, for a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from headct.scores.overlay import OverlayCase

__all__ = ["outlined", "outlined_slices"]


def outlined(folder: Path, item: Mapping[str, Any], run: Path, title: str) -> OverlayCase:
    """The head with its truth and the prediction of a run.

    Args:
        folder: that the paths of the entry are relative to.
        item: entry of the datalist, with `image`, `label` and `case`.
        run: folder of a configuration, which holds `run/eval/predictions`.
        title: above the head.
    """
    image, spacing = _volume(folder / item["image"])
    pred, _ = _volume(run / "run" / "eval" / "predictions" / f"{item['case']}_seg.nii.gz")
    return OverlayCase(title, image, pred, _volume(folder / item["label"])[0], spacing)


def outlined_slices(folder: Path, items: Sequence[Mapping[str, Any]], run: Path, title: str) -> OverlayCase:
    """The same of single slices of a head, of which each has a prediction of its own, in their order.

    Args:
        folder: that the paths of the entries are relative to.
        items: entries of the datalist, all of one head, with `slice` too, which counts from 1.
        run: folder of a configuration, which holds `run/eval/predictions`.
        title: above the head.
    """
    image, spacing = _volume(folder / items[0]["image"])
    truth, _ = _volume(folder / items[0]["label"])
    numbers = [int(item["slice"]) - 1 for item in items]
    found = run / "run" / "eval" / "predictions"
    preds = [_volume(found / f"{item['case']}_seg.nii.gz")[0].reshape(image.shape[:2]) for item in items]
    return OverlayCase(title, image[..., numbers], torch.stack(preds, -1), truth[..., numbers], spacing)


def _volume(path: Path) -> tuple[torch.Tensor, list[float]]:
    """Voxels (X, Y, Z) of a NIfTI file, and their size in mm."""
    image: Any = nib.load(path)
    voxels = torch.from_numpy(np.asarray(image.dataobj, np.float32))
    return voxels, [float(mm) for mm in image.header.get_zooms()[:3]]
