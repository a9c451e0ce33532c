"""Scans of DICOM sets that have no masks: those without hemorrhage are cases with an empty mask."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from headct.datasets.collection import Collection, Options, Record
from headct.datasets.layouts.dicom import converted
from headct.datasets.layouts.volumes import Pair, Twins, check_image, entry, with_counts, write_mask
from headct.predict.input.sources import Source


def negative(
    collection: Collection, source: Source, case: str, patient: str, options: Options, twins: Twins
) -> Record:
    """The record of a scan without hemorrhage; its volume and its empty mask are written beside the datalist.

    Raises:
        InputError: the study has no plain head CT that can be read.
    """
    image = converted(collection, source, case, options)
    pair = Pair(case, patient, image, image)
    check_image(collection, pair, twins)
    header = nib.load(image)
    affine = np.asarray(header.affine)  # type: ignore[attr-defined]
    empty = np.zeros(header.shape, np.uint8)  # type: ignore[attr-defined]
    item = entry(pair)
    item["label"] = write_mask(options.masks / "labels", pair, empty, affine)
    item["hemorrhage"] = False
    return with_counts(item, [()] * _slices(empty, affine), empty, 0.0, typed=True)


def _slices(volume: np.ndarray, affine: np.ndarray) -> int:
    axis = int(np.flatnonzero(nib.io_orientation(affine)[:, 0] == 2)[0])
    return volume.shape[axis]
