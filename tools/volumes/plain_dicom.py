"""Copies of DICOM slices that say no more than a volume needs: what differs without meaning is gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tools.core.errors import InputError
from tools.core.extras import extra_packages
from tools.volumes.dicom_file import read_dicom

with extra_packages("reading DICOM"):
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.pixels import apply_rescale
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

KEPT = (
    "Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness",
    "GantryDetectorTilt",
)  # fmt: skip
#: What a CT image that leaves it out is taken to be.
USUAL = {
    "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16,
    "PixelRepresentation": 0,
}  # fmt: skip


def _undecoded(image: pydicom.Dataset, error: Exception) -> str:
    """What is wrong with pixels that no decoder reads, and what to do about it."""
    syntax = image.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return f"expected pixels that can be decoded, found {error}"
    return (
        f"expected pixels that can be decoded, found {image.BitsStored} bits in {syntax.name} ({syntax}), "
        "which no decoder here reads; `pip install pylibjpeg pylibjpeg-libjpeg` adds one (licence: GPL), or "
        "`gdcmconv --raw` or `dcmdjpeg` writes the files without compression"
    )


def write_plain_copies(files: Sequence[Path], folder: Path) -> None:
    """Write each slice as an uncompressed CT image of one series, its pixels in HU.

    Args:
        files: images of one frame.
        folder: made for the copies.

    Raises:
        InputError: the pixels of a file cannot be decoded.
    """
    folder.mkdir()
    study, series, frame = (generate_uid() for _ in range(3))
    for number, file in enumerate(files, start=1):
        image = read_dicom(file)
        if "TransferSyntaxUID" not in image.file_meta:
            image.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
            if not image.original_encoding[0]:
                image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        for keyword, value in USUAL.items():
            if image.get(keyword) in (None, ""):
                setattr(image, keyword, value)
        if image.get("BitsStored") in (None, ""):
            image.BitsStored = image.BitsAllocated
        try:
            hu = apply_rescale(image.pixel_array, image)
        except Exception as error:  # each decoder raises its own
            raise InputError(f"{file}: {_undecoded(image, error)}") from error
        copy = Dataset()
        copy.file_meta = FileMetaDataset()
        copy.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        for keyword in KEPT:
            if image.get(keyword) not in (None, ""):
                setattr(copy, keyword, image.get(keyword))
        copy.SOPClassUID, copy.SOPInstanceUID = CTImageStorage, generate_uid()
        copy.StudyInstanceUID, copy.SeriesInstanceUID, copy.FrameOfReferenceUID = study, series, frame
        copy.Modality, copy.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        copy.SeriesNumber, copy.InstanceNumber, copy.PatientPosition = 1, number, "HFS"
        copy.SamplesPerPixel, copy.PhotometricInterpretation, copy.PixelRepresentation = 1, "MONOCHROME2", 1
        copy.BitsAllocated, copy.BitsStored, copy.HighBit = 16, 16, 15
        copy.RescaleSlope, copy.RescaleIntercept = 1, 0
        copy.PixelData = np.clip(np.round(hu), -32768, 32767).astype("<i2").tobytes()
        copy.save_as(folder / f"{number:05d}.dcm", enforce_file_format=True)
