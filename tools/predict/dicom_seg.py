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
import pydicom

from tools import __version__
from tools.enhanced_dicom import file_of, with_shared_plane

if TYPE_CHECKING:
    from tools.predict.bundles import BundleModel

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
PERSONAL = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID")
PERSONAL += ("ReferringPhysicianName", "StudyDate", "StudyTime")


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
    models: Sequence[BundleModel],
    keep_identifiers: bool = False,
) -> bytes:
    """The file: one binary segment for each class of the label map, on the slices that show any of them.

    UIDs refer to the original images, as they must. Unless `keep_identifiers`, the patient's name, number,
    birth date and sex, the study's date and numbers are left empty.

    Args:
        label: class values (X, Y, Z), in the orientation of `affine`.
        affine: voxels to RAS+ mm.
        headers: of the original slices by name, see `tools.enhanced_dicom`; the files are read again, without
            pixels.
        models: with one, its class names become segments; with several there is one, their consensus.
        keep_identifiers: copy the patient and the study from the original images.
    """
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
    originals = [with_shared_plane(pydicom.dcmread(file, stop_before_pixels=True)) for file in files]
    for original in originals:
        _blank(original, everything=not keep_identifiers)
    values = dict(models[0].names) if len(models) == 1 else {1: "hemorrhage"}
    frames = frames_of(label, affine, [headers[name] for name in slices])
    masks = np.stack([frames == value for value in values], -1).astype(np.uint8)
    algorithm = AlgorithmIdentificationSequence(
        name=", ".join(model.name for model in models)[:64],
        family=codes.DCM.ArtificialIntelligence,
        version=", ".join(str(model.metadata.get("version", "none")) for model in models)[:64],
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
                algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
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
            manufacturer_model_name="python -m tools predict",
            software_versions=__version__,
            device_serial_number="0",
            content_label="HEMORRHAGE",
            content_description="Research use only, not a medical device",
            series_description="Hemorrhage, automatic, research use only",
            omit_empty_frames=bool(masks.any()),
        )
    stream = io.BytesIO()
    seg.save_as(stream)
    return stream.getvalue()


def _blank(dataset: pydicom.Dataset, everything: bool) -> None:
    """Empty the personal attributes, or only add those that are missing."""
    for keyword in PERSONAL:
        if everything or keyword not in dataset:
            setattr(dataset, keyword, "")
    if everything:
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = "Left empty by tools.predict"
    elif dataset.get("PatientIdentityRemoved") == "YES" and not dataset.get("DeidentificationMethod"):
        dataset.DeidentificationMethod = "Not stated in the images"


def _code(text: str) -> tuple[str, str]:
    return next((code, meaning) for pattern, code, meaning in CODES if re.search(pattern, text, re.I))


def _series_number(original: pydicom.Dataset) -> int:
    """A number of its own beside the original's."""
    number: Any = original.get("SeriesNumber")
    return 1000 + int(number) % 100000 if number is not None else 1000
