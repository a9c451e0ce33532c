"""The findings as a DICOM structured report: TID 1500, in the terms of IHE's profile AI Results (AIR).

Each lesion is a measurement group (TID 1411) of its segment in the DICOM SEG; the verdict is a group of its
own (TID 1501) that says of the whole scan whether there is hemorrhage, also where there is none.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headct.predict.findings.parts import Part
from headct.predict.output import dicom_codes as code
from headct.predict.output.dicom_seg import MAKER, models_of, series_number, tracking_uid
from headct.predict.output.dicom_source import SourceImages
from headct.predict.output.dicom_uids import ResultUIDs
from tools.core.extras import extra_packages

if TYPE_CHECKING:
    from headct.predict.results import Case

with extra_packages("DICOM structured reports"):
    import pydicom
    from highdicom import sr
    from pydicom.sr.codedict import codes

__all__ = ["dicom_sr"]


def dicom_sr(
    parts: Sequence[Part], seg: pydicom.Dataset, source: SourceImages, case: Case, uids: ResultUIDs
) -> pydicom.Dataset:
    """The report: verdict, and of each lesion volume (mL), longest diameter (mm), side and mean value (HU).

    It is complete, preliminary and not verified by anybody.

    Args:
        parts: the segments, see `headct.predict.findings.parts`; those of a lesion are reported.
        seg: the DICOM SEG.
        source: the original images.
        case: verdict and models.
        uids: of the result.
    """
    algorithm = _algorithm(case)
    groups: list[Any] = [_verdict(source, case, uids, algorithm)]
    groups += [_lesion(part, _segment(part, seg, source), uids, algorithm) for part in parts if part.lesion]
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_observer()),
        procedure_reported=code.PROCEDURE,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values of the scanner that are not quite valid
        report = sr.Comprehensive3DSR(
            evidence=[*source.images, seg],
            content=content,
            series_instance_uid=uids.of("SR series"),
            series_number=series_number(source.images[0], 2000),
            sop_instance_uid=uids.of("SR"),
            instance_number=1,
            is_complete=True,
            **MAKER,
        )
    report.SeriesDescription = seg.SeriesDescription
    return report


def _verdict(
    source: SourceImages, case: Case, uids: ResultUIDs, algorithm: sr.AlgorithmIdentification
) -> sr.MeasurementsAndQualitativeEvaluations:
    """What is said of the whole scan."""
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uids.of("verdict"), "verdict on the whole scan"),
        finding_category=code.CATEGORY,
        finding_type=code.HEMORRHAGE,
        finding_sites=[sr.FindingSite(codes.SCT.Intracranial)],
        algorithm_id=algorithm,
        qualitative_evaluations=[
            sr.QualitativeEvaluation(code.PRESENCE, code.PRESENT if case.hemorrhage else code.ABSENT)
        ],
        measurements=[
            sr.Measurement(code.VOLUME, round(case.volume_ml, 3), code.ML),
            sr.Measurement(code.NUMBER, len(case.lesions), code.NO_UNIT),
        ],
        source_images=[sr.SourceImageForMeasurementGroup.from_source_image(i) for i in source.images],
    )


def _lesion(
    part: Part, segment: sr.ReferencedSegment, uids: ResultUIDs, algorithm: sr.AlgorithmIdentification
) -> sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    """What is said of a lesion."""
    middle = codes.SCT.Midline if part.side == "midline" else None
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(tracking_uid(uids, part), part.name),
        referenced_segment=segment,
        finding_category=code.CATEGORY,
        finding_type=code.type_of(part.kind),
        finding_sites=[
            sr.FindingSite(code.place_of(part.kind), code.SIDES.get(part.side or ""), middle),
        ],
        algorithm_id=algorithm,
        measurements=[
            sr.Measurement(code.VOLUME, round(part.volume_ml, 3), code.ML),
            sr.Measurement(
                code.LENGTH, round(part.diameter_mm, 1), codes.UCUM.Millimeter, derivation=code.MAXIMUM
            ),
            sr.Measurement(code.VALUE, round(part.mean_hu, 1), code.HU, derivation=code.MEAN),
        ],
    )


def _segment(part: Part, seg: pydicom.Dataset, source: SourceImages) -> sr.ReferencedSegment:
    """The segment, with the slices that show it; a lesion that lies between two slices is on none."""
    shown = [
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for frame in seg.PerFrameFunctionalGroupsSequence
    ]
    if part.number in shown:
        return sr.ReferencedSegment.from_segmentation(seg, part.number)
    series = sr.SourceSeriesForSegmentation(source.images[0].SeriesInstanceUID)
    return sr.ReferencedSegment(seg.SOPClassUID, seg.SOPInstanceUID, part.number, source_series=series)


def _algorithm(case: Case) -> sr.AlgorithmIdentification:
    name, version, weights = models_of(case)
    notes = [f"weights sha256: {weights}", case.note]
    if case.corrected:
        notes.append("corrected by hand")
    return sr.AlgorithmIdentification(
        name, version, notes, codes.DCM.ArtificialIntelligence, MAKER["manufacturer"]
    )


def _observer() -> sr.ObserverContext:
    """The program: a device, the same wherever it runs."""
    return sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=pydicom.uid.generate_uid(entropy_srcs=list(MAKER.values())),
            name=MAKER["manufacturer_model_name"],
            manufacturer_name=MAKER["manufacturer"],
            model_name=MAKER["manufacturer_model_name"],
        ),
    )
