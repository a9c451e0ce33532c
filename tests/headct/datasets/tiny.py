"""Tiny volumes and series for trees of data sets: NIfTI of 12 x 12 x 6 voxels, DICOM of 64 x 64 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SHAPE = (12, 12, 6)
AFFINE = np.diag([-2.0, -2.0, 5.0, 1.0])  # LPS, as scanners write; 0.02 mL a voxel


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def voxels(path: Any) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def head(seed: int) -> np.ndarray:
    """Air, bone and noise: what a CT volume must show to be taken for one."""
    volume = np.full(SHAPE, -1000, np.int16)
    volume[2:10, 2:10] = 900
    volume[3:9, 3:9] = np.random.default_rng(seed).integers(20, 45, (6, 6, SHAPE[2]))
    return volume


def blob(values: dict[int, int]) -> np.ndarray:
    """A mask of 4 voxels (0.08 mL) of a value on each of the given slices, from 0."""
    mask = np.zeros(SHAPE, np.uint8)
    for number, value in values.items():
        mask[4:6, 4:6, number] = value
    return mask


def write_series(folder: Path, names: Sequence[str], blood: Sequence[int] = (), **tags: str) -> None:
    """One study of an oval head with a skull, of as many slices as names, few tags; blood on some slices."""
    x, y = np.meshgrid(np.linspace(-1, 1, 64), np.linspace(-1, 1, 64))
    folder.mkdir(parents=True, exist_ok=True)
    series = generate_uid()
    for k, name in enumerate(names):
        radius = np.hypot(x / 0.7, y / 0.85) + ((k - len(names) / 2) / len(names)) ** 2
        rng = np.random.default_rng(k)
        pixels = np.where(radius < 0.9, 35 + rng.integers(-4, 5, x.shape), 1000)
        pixels = np.where(radius > 1, -1000, pixels)
        if k in blood:
            pixels[28:36, 20:28] = 75
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = CTImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
        data.SOPClassUID, data.Modality = CTImageStorage, "CT"
        data.SeriesInstanceUID = series
        for keyword, value in tags.items():
            setattr(data, keyword, value)
        data.PixelSpacing, data.ImagePositionPatient = [3.0, 3.0], [-96.0, -96.0, 8.0 * k]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.Rows = data.Columns = 64
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 0
        data.RescaleIntercept, data.RescaleSlope = "-1024", "1"
        data.PixelData = (pixels + 1024).astype("<u2").tobytes()
        data.save_as(folder / f"{name}.dcm", enforce_file_format=True)
