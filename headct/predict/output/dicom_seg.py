"""A label map as DICOM SEG on the slices that the scanner wrote, whatever its gantry's tilt and their
distances.

The label map lies on the straightened volume. Each original slice knows where its pixels are in the patient,
so each pixel's centre is looked up in that volume (nearest voxel): no assumption on how the slices lie is
needed.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tools import __version__
from tools.core.extras import extra_packages
from tools.volumes.dicom_file import read_dicom
from tools.volumes.enhanced_dicom import file_of, with_shared_plane

if TYPE_CHECKING:
    from headct.predict.results import Case

with extra_packages("DICOM SEG"):
    import pydicom
    from pydicom.uid import CTImageStorage, generate_uid

__all__ = ["CODES", "dicom_seg", "frames_of", "sort_slices"]

#: SNOMED CT codes by what a class is called; the first that matches. Only codes that could be verified are
#: here: epidural and intraventricular blood get the general one, and their segment is named.
CODES = (
    (r"subdural|\bsdh\b", "35486000", "Subdural intracranial hemorrhage"),
    (r"subarachnoid|\bsah\b", "21454007", "Subarachnoid intracranial hemorrhage"),
    (r"parenchym|intracerebral|\biph\b|\bich\b", "274100004", "Cerebral hemorrhage"),
    (r"", "1386000", "Intracranial hemorrhage"),
)
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


def frames_of(label: np.ndarray, affine: np.ndarray, headers: Sequence[pydicom.Dataset]) -> np.ndarray:
    """The label map on the pixels of original slices.

    Args:
        label: (X, Y, Z).
        affine: its voxels to RAS+ mm.
        headers: of the slices.

    Returns:
        (slices, rows, columns), 0 where a pixel lies outside the volume.
    """
    inverse = np.linalg.inv(affine) @ np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM's x and y point left and back
    frames = np.zeros((len(headers), int(headers[0].Rows), int(headers[0].Columns)), label.dtype)
    for frame, header in zip(frames, headers, strict=True):
        axes, spacing = np.array(header.ImageOrientationPatient, float), np.array(header.PixelSpacing, float)
        to_patient = np.eye(4)
        to_patient[:3, 0] = axes[3:] * spacing[0]  # one row down
        to_patient[:3, 1] = axes[:3] * spacing[1]  # one column to the right
        to_patient[:3, 3] = np.array(header.ImagePositionPatient, float)
        matrix = inverse @ to_patient
        row = matrix[:3, 0, None] * np.arange(frame.shape[0])
        column = matrix[:3, 1, None] * np.arange(frame.shape[1])
        index = np.rint(row[:, :, None] + column[:, None, :] + matrix[:3, 3, None, None]).astype(np.int64)
        inside = np.ones(frame.shape, bool)
        for axis, size in enumerate(label.shape):
            inside &= (index[axis] >= 0) & (index[axis] < size)
        frame[inside] = label[tuple(index[:, inside])]
    return frames


def dicom_seg(
    label: np.ndarray,
    affine: np.ndarray,
    headers: Mapping[Path, pydicom.Dataset],
    case: Case,
    keep_identifiers: bool = False,
) -> bytes:
    """The file: one binary segment for each class of the label map, on the slices that show any of them.

    UIDs refer to the original images, as they must. Unless `keep_identifiers`, the patient's name, number,
    birth date and sex, the study's date and numbers are left empty, and nothing else is taken over but
    what places the images (`ALLOWED`).

    Args:
        label: class values (X, Y, Z), in the orientation of `affine`.
        affine: voxels to RAS+ mm.
        headers: of the original slices by name, see `tools.volumes.enhanced_dicom`; the files are read
            again, without pixels.
        case: its classes become segments; its models are named, and whether somebody corrected them.
        keep_identifiers: copy the patient and the study from the original images.
    """
    with extra_packages("DICOM SEG"):
        from highdicom import UID, AlgorithmIdentificationSequence
        from highdicom.seg import (
            SegmentAlgorithmTypeValues,
            Segmentation,
            SegmentationTypeValues,
            SegmentDescription,
        )
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    slices = sort_slices(headers)
    files = dict.fromkeys(file_of(name) for name in slices)
    originals = [_original(file, keep_identifiers) for file in files]
    _complete(originals)
    values, models, by_hand = case.classes, case.models, case.corrected is not None
    frames = frames_of(label, affine, [headers[name] for name in slices])
    masks = np.stack([frames == value for value in values], -1).astype(np.uint8)
    algorithm = AlgorithmIdentificationSequence(
        name=", ".join(model.bundle for model in models)[:64],
        family=codes.DCM.ArtificialIntelligence,
        version=", ".join(model.version for model in models)[:64],
        parameters={"weights sha256": " ".join(digest for model in models for digest in model.sha256)[:1024]},
    )
    segments = []
    for number, text in enumerate(values.values(), start=1):
        code, meaning = _code(text)
        segments.append(
            SegmentDescription(
                segment_number=number,
                segment_label=text[:64],
                segmented_property_category=Code("49755003", "SCT", "Morphologically Abnormal Structure"),
                segmented_property_type=Code(code, "SCT", meaning),
                algorithm_type=SegmentAlgorithmTypeValues["SEMIAUTOMATIC" if by_hand else "AUTOMATIC"],
                algorithm_identification=algorithm,
                tracking_uid=UID(),
                tracking_id=text[:64],
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty mask, and values of the scanner that are not quite valid
        seg = Segmentation(
            source_images=originals,
            pixel_array=masks,
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=UID(),
            series_number=_series_number(originals[0]),
            sop_instance_uid=UID(),
            instance_number=1,
            manufacturer="hemorrhage-ct-bundles",
            manufacturer_model_name="headct predict",
            software_versions=__version__,
            device_serial_number="0",
            content_label="HEMORRHAGE",
            content_description="Research use only, not a medical device",
            series_description=f"Hemorrhage, {'corrected' if by_hand else 'automatic'}, research use only",
            omit_empty_frames=bool(masks.any()),
        )
    stream = io.BytesIO()
    seg.save_as(stream)
    return stream.getvalue()


def _original(file: Path, keep_identifiers: bool) -> pydicom.Dataset:
    """An image without pixels, and with nothing of the patient, the study or the trial unless it is kept."""
    header = with_shared_plane(read_dicom(file, stop_before_pixels=True))
    if keep_identifiers:
        for keyword in PERSONAL:
            if keyword not in header:
                setattr(header, keyword, "")
        if header.get("PatientIdentityRemoved") == "YES" and not header.get("DeidentificationMethod"):
            header.DeidentificationMethod = "Not stated in the images"
        return header
    _keep_only(header, ALLOWED)
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for groups in header.get(keyword) or []:
            _keep_only(groups, ALLOWED_GROUPS)
            for content in groups.get("FrameContentSequence") or []:
                _keep_only(content, ("StackID", "InStackPositionNumber", "DimensionIndexValues"))
    for keyword in PERSONAL:
        setattr(header, keyword, "")
    header.PatientIdentityRemoved = "YES"
    header.DeidentificationMethod = "Only what places the images was taken over"
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


def _code(text: str) -> tuple[str, str]:
    return next((code, meaning) for pattern, code, meaning in CODES if re.search(pattern, text, re.I))


def _series_number(original: pydicom.Dataset) -> int:
    """A number of its own beside the original's."""
    number: Any = original.get("SeriesNumber")
    return 1000 + int(number) % 100000 if number is not None else 1000
