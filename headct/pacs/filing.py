"""Results under the patient and the study that an archive knows, so that it files them beside the images.

Files of results name nobody. An archive goes by the patient's number and name, though: an object without them
becomes a second patient. So what is sent, and only that, takes them over from the images, and has UIDs of its
own, since one UID must not stand for two contents.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headct.predict.output.dicom_sc import dicom_sc
from headct.predict.output.dicom_uids import stored_uid
from tools.core.errors import InputError
from tools.core.extras import extra_packages

if TYPE_CHECKING:
    from headct.predict.results import Case

with extra_packages("DICOMweb"):
    import pydicom

__all__ = ["FILED", "objects_to_send"]

#: All that what is sent takes over: whose it is, and of which study.
FILED = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID",
    "StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
#: What highdicom makes a UID for, that other objects refer to.
OWN = ("SOPInstanceUID", "SeriesInstanceUID", "TrackingUID", "DimensionOrganizationUID")


def objects_to_send(case: Case, images: Path) -> list[pydicom.Dataset]:
    """DICOM SEG, structured report and picture of a case, as the archive shall have them.

    Args:
        case: with its files.
        images: folder with the images that were fetched, of this study.

    Raises:
        InputError: the case has no DICOM SEG or report, or no image is there.
    """
    missing = [key for key in ("dicom_seg", "dicom_sr") if key not in case.files]
    if missing:
        raise InputError(
            f"{case.folder}: expected a DICOM SEG and a structured report to send, found no {missing[0]}: "
            "report.json says why, or predict again with --overwrite"
        )
    first = next(iter(sorted(images.rglob("*.dcm"))), None)
    if first is None:
        raise InputError(f"{case.name}: expected the images that it was predicted from, found none")
    original = pydicom.dcmread(first, stop_before_pixels=True)
    seg, report = (pydicom.dcmread(case.path(key)) for key in ("dicom_seg", "dicom_sr"))
    own = _own_uids(seg) | _own_uids(report)
    for made in (seg, report):
        _rename(made, own)
    objects: list[pydicom.Dataset] = [seg, report, dicom_sc(case.path("png").read_bytes(), seg)]
    for dataset in objects:
        _file(dataset, original)
    return objects


def _own_uids(dataset: pydicom.Dataset) -> dict[str, str]:
    """New UIDs by old ones, of all that this object and the objects in it are the first to name."""
    old = {str(dataset.SOPInstanceUID), str(dataset.SeriesInstanceUID)}
    for element in dataset.iterall():
        if element.keyword in OWN[2:]:
            old.add(str(element.value))
    for item in _items(dataset):
        if item.get("ValueType") == "UIDREF" and item.ConceptNameCodeSequence[0].CodeValue == "112040":
            old.add(str(item.UID))  # Tracking Unique Identifier
    return {uid: str(stored_uid(uid)) for uid in old}


def _items(dataset: pydicom.Dataset) -> list[pydicom.Dataset]:
    """The content items of a structured report."""
    found = []
    for item in dataset.get("ContentSequence", []):
        found += [item, *_items(item)]
    return found


def _rename(dataset: pydicom.Dataset, uids: dict[str, str]) -> None:
    for element in dataset.iterall():
        if element.VR == "UI" and str(element.value) in uids:
            element.value = uids[str(element.value)]
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def _file(dataset: pydicom.Dataset, original: pydicom.Dataset) -> None:
    """Give an object the patient and the study of an image."""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in FILED:
        if keyword in original:
            value = original[keyword].value
            setattr(dataset, keyword, None if value is None else str(value))
    for keyword in ("PatientIdentityRemoved", "DeidentificationMethod"):
        if keyword in dataset:  # it says what was done to the file, not to the images
            delattr(dataset, keyword)
    if original.get("PatientIdentityRemoved"):
        dataset.PatientIdentityRemoved = original.PatientIdentityRemoved
    if original.get("PatientIdentityRemoved") == "YES":
        dataset.DeidentificationMethod = original.get("DeidentificationMethod") or "Not stated in the images"
