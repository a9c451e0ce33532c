"""The original images of a result, and the list of what DICOM objects may take over from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.core.extras import extra_packages
from tools.volumes.dicom_file import PER_FRAME, SHARED, file_of, read_dicom

with extra_packages("DICOM SEG"):
    import pydicom
    from pydicom.uid import CTImageStorage, generate_uid

__all__ = ["SourceImages", "source_images"]

#: Who and when; DICOM wants all of them present, but they may be empty.
PERSONAL: tuple[str, ...] = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
)
PERSONAL += ("ReferringPhysicianName", "StudyDate", "StudyTime")
#: All that the SEG may take over from the original images unless they keep their identifiers: what its frames
#: refer to and where they lie. A list of what is allowed, since that of what may name a person has no end.
ALLOWED = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "PositionReferenceIndicator", "Modality", "SeriesNumber", "InstanceNumber", "ImageType", "Rows",
    "Columns", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "ImagePositionPatient",
    "ImageOrientationPatient", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "DimensionOrganizationSequence",
    "DimensionIndexSequence",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
#: Of the functional groups of an enhanced image, those that say where a frame lies.
ALLOWED_GROUPS = (
    "PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence", "FrameContentSequence",
)  # fmt: skip


def sort_slices(headers: Mapping[Path, pydicom.Dataset]) -> list[Path]:
    """The slices of one series along the normal; those of one multi-frame file in the order of its frames."""
    if len({file_of(name) for name in headers}) == 1:
        return list(headers)
    axes = np.array(next(iter(headers.values())).ImageOrientationPatient, float)
    normal = np.cross(axes[:3], axes[3:])
    return sorted(
        headers, key=lambda name: float(np.array(headers[name].ImagePositionPatient, float) @ normal)
    )


@dataclass
class SourceImages:
    """What a result was made from.

    Attributes:
        slices: headers along the normal, one for each slice or frame, which say where it lies.
        images: one for each file, without pixels; of the patient and the study only what is allowed.
    """

    slices: list[pydicom.Dataset]
    images: list[pydicom.Dataset]

    @property
    def uids(self) -> list[str]:
        """SOPInstanceUIDs."""
        return [str(image.SOPInstanceUID) for image in self.images]


def source_images(headers: Mapping[Path, pydicom.Dataset], keep_identifiers: bool = False) -> SourceImages:
    """The images of one series in order.

    UIDs are kept, as references need them. Unless `keep_identifiers`, the patient's name, number, birth date
    and sex, the study's date and numbers are left empty, and nothing else is taken over but what places the
    images (`ALLOWED`).

    Args:
        headers: of the original slices by name, see `tools.volumes.dicom_file`; the files are read
            again, without pixels.
        keep_identifiers: copy the patient and the study from the original images.
    """
    slices = sort_slices(headers)
    files = dict.fromkeys(file_of(name) for name in slices)
    images = [_original(file, keep_identifiers) for file in files]
    _complete(images)
    return SourceImages([headers[name] for name in slices], images)


def _original(file: Path, keep_identifiers: bool) -> pydicom.Dataset:
    """An image without pixels, and with nothing of the patient, the study or the trial unless it is kept."""
    header = _with_shared_plane(read_dicom(file, stop_before_pixels=True))
    if keep_identifiers:
        for keyword in PERSONAL:
            if keyword not in header:
                setattr(header, keyword, "")
        if header.get("PatientIdentityRemoved") == "YES" and not header.get("DeidentificationMethod"):
            header.DeidentificationMethod = "Not stated in the images"
        return header
    _keep_only(header, ALLOWED)
    for keyword in (SHARED, PER_FRAME):
        for groups in header.get(keyword) or []:
            _keep_only(groups, ALLOWED_GROUPS)
            for content in groups.get("FrameContentSequence") or []:
                _keep_only(content, ("StackID", "InStackPositionNumber", "DimensionIndexValues"))
    for keyword in PERSONAL:
        setattr(header, keyword, "")
    header.PatientIdentityRemoved = "YES"
    header.DeidentificationMethod = "Only what places the images was taken over"
    return header


def _with_shared_plane(header: pydicom.Dataset) -> pydicom.Dataset:
    """The header of a file, with pixel spacing and orientation among what its frames share.

    Frames of one volume have the same, and highdicom needs them there. The header is changed in place; a
    classic one is left as it is.
    """
    frames = header.get(PER_FRAME)
    if frames:
        if not header.get(SHARED):
            setattr(header, SHARED, [pydicom.Dataset()])
        for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
            if keyword not in header[SHARED][0] and keyword in frames[0]:
                setattr(header[SHARED][0], keyword, frames[0][keyword].value)
    return header


def _keep_only(dataset: pydicom.Dataset, keywords: Sequence[str]) -> None:
    for element in list(dataset):
        if element.keyword not in keywords:
            del dataset[element.tag]


def _complete(originals: Sequence[pydicom.Dataset]) -> None:
    """Add what highdicom needs and some archives leave out; images of one series get the same."""
    study, series, frame = (generate_uid() for _ in range(3))
    for original in originals:
        for keyword, value in (
            ("SOPClassUID", CTImageStorage), ("SOPInstanceUID", None), ("StudyInstanceUID", study),
            ("SeriesInstanceUID", series), ("FrameOfReferenceUID", frame), ("PositionReferenceIndicator", ""),
        ):  # fmt: skip
            if not original.get(keyword) and not (keyword in original and value == ""):
                setattr(original, keyword, generate_uid() if value is None else value)
        if "SliceThickness" not in original and "NumberOfFrames" not in original:
            original.SliceThickness = None
        if not original.get("SliceThickness") and "ImagePositionPatient" in original:
            original.SliceThickness = _distance(originals)


def _distance(originals: Sequence[pydicom.Dataset]) -> float:
    """mm between the first two slices; 1 where there is one."""
    if len(originals) < 2:
        return 1.0
    a, b = (np.array(one.ImagePositionPatient, float) for one in originals[:2])
    return round(float(np.linalg.norm(a - b)), 4)
