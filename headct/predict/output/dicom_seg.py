"""Regions as DICOM SEG on the slices that the scanner wrote, whatever its gantry's tilt and their distances.

The label map lies on the straightened volume. Each original slice knows where its pixels are in the patient,
so each pixel's centre is looked up in that volume (nearest voxel): no assumption on how the slices lie is
needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headct.predict.findings.parts import Part
from headct.predict.output.dicom_codes import CATEGORY, place_of, type_of
from headct.predict.output.dicom_source import SourceImages
from headct.predict.output.dicom_uids import ResultUIDs
from tools import __version__
from tools.core.extras import extra_packages

if TYPE_CHECKING:
    from headct.predict.results import Case

with extra_packages("DICOM SEG"):
    import pydicom

__all__ = ["MAKER", "dicom_seg", "frames_of", "models_of", "series_number", "tracking_uid"]

#: Who made an object, as highdicom's arguments call it.
MAKER: dict[str, Any] = {
    "manufacturer": "hemorrhage-ct-bundles",
    "manufacturer_model_name": "headct predict",
    "software_versions": __version__,
    "device_serial_number": "0",
}


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
    numbers: np.ndarray,
    affine: np.ndarray,
    parts: Sequence[Part],
    source: SourceImages,
    case: Case,
    uids: ResultUIDs,
) -> pydicom.Dataset:
    """One binary segment for each part, on the slices that show any of them.

    Args:
        numbers: of the parts (X, Y, Z), see `headct.predict.findings.parts`.
        affine: voxels to RAS+ mm.
        parts: the segments.
        source: the original images.
        case: its models are named, and whether somebody corrected the result.
        uids: of the result.
    """
    with extra_packages("DICOM SEG"):
        from highdicom import AlgorithmIdentificationSequence
        from highdicom.seg import (
            SegmentAlgorithmTypeValues,
            Segmentation,
            SegmentationTypeValues,
            SegmentDescription,
        )
    from pydicom.sr.codedict import codes

    by_hand = case.corrected is not None
    frames = frames_of(numbers, affine, source.slices)
    name, version, weights = models_of(case)
    algorithm = AlgorithmIdentificationSequence(
        name=name[:64],
        family=codes.DCM.ArtificialIntelligence,
        version=version[:64],
        parameters={"weights sha256": weights[:1024]},
    )
    segments = [
        SegmentDescription(
            segment_number=part.number,
            segment_label=part.name[:64],
            segmented_property_category=CATEGORY,
            segmented_property_type=type_of(part.kind),
            anatomic_regions=[place_of(part.kind)],
            algorithm_type=SegmentAlgorithmTypeValues["SEMIAUTOMATIC" if by_hand else "AUTOMATIC"],
            algorithm_identification=algorithm,
            tracking_uid=tracking_uid(uids, part),
            tracking_id=part.name[:64],
        )
        for part in parts
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty mask, and values of the scanner that are not quite valid
        return Segmentation(
            source_images=source.images,
            pixel_array=frames,
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=uids.of("SEG series"),
            series_number=series_number(source.images[0], 1000),
            sop_instance_uid=uids.of("SEG"),
            instance_number=1,
            **MAKER,
            content_label="HEMORRHAGE",
            content_description="Research use only, not a medical device",
            series_description=f"Hemorrhage, {'corrected' if by_hand else 'automatic'}, research use only",
            omit_empty_frames=bool(frames.any()),
        )


def models_of(case: Case) -> tuple[str, str, str]:
    """Names and versions of the models of a case, and the checksums of their weights."""
    names, versions = ([getattr(m, key) for m in case.models] for key in ("bundle", "version"))
    return ", ".join(names), ", ".join(versions), " ".join(d for m in case.models for d in m.sha256)


def tracking_uid(uids: ResultUIDs, part: Part) -> str:
    """By which other objects refer to a part."""
    return uids.of(f"part {part.number}")


def series_number(original: pydicom.Dataset, first: int) -> int:
    """A number of its own beside the original's."""
    number: Any = original.get("SeriesNumber")
    return first + int(number) % 100000 if number is not None else first
