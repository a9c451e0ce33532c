"""The one-page picture of the findings as secondary capture, which every viewer shows."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from headct.predict.output.dicom_seg import MAKER
from headct.predict.output.dicom_uids import stored_uid
from tools.core.extras import extra_packages

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["dicom_sc"]


def dicom_sc(picture: bytes, seg: Dataset) -> Dataset:
    """A picture in the study of a DICOM SEG.

    Args:
        picture: PNG; it holds nothing that names the patient.
        seg: of the same result, as it will be stored: patient, study and UIDs follow it.
    """
    with extra_packages("DICOM secondary capture"):
        from highdicom.sc import SCImage
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
    capture = SCImage(
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=seg.StudyInstanceUID,
        series_instance_uid=stored_uid(f"{seg.SeriesInstanceUID} picture"),
        series_number=int(seg.SeriesNumber) + 2000,
        sop_instance_uid=stored_uid(f"{seg.SOPInstanceUID} picture"),
        instance_number=1,
        patient_orientation=("L", "P"),
        **MAKER,
    )
    capture.SeriesDescription = seg.SeriesDescription
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.BurnedInAnnotation = "NO"
    capture.Laterality = ""
    return capture
