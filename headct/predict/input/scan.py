"""From a source to one checked volume on disk and in memory, and what is known of the scan."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headct.predict.input.head_check import HEAD_MM, head_extent_mm
from headct.predict.input.sources import Source
from headct.predict.input.words import public_words
from tools.core import names
from tools.core.errors import InputError
from tools.volumes.doubts import describe_odd, form_doubts, in_slices, level_doubts, odd_slices
from tools.volumes.read import read_volume

if TYPE_CHECKING:
    import pydicom

__all__ = ["Scan", "neutral_name", "read_scan", "study_uid"]

SIZE_MM = (30.0, 1000.0)  # of a slice
PART_MM, WHOLE_MM = 40.0, 100.0  # a volume of 100 mm of a head shows more than 40 mm of brain within a skull
SLAB_MM = 60.0  # from here on, a volume of a head shows brain within a skull
IDENTIFIERS = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDate")


@dataclass
class Scan:
    """One CT, loaded.

    Attributes:
        volume: MetaTensor (1, X, Y, Z), HU, in the orientation of its file.
        kind: "nifti" or "dicom".
        notes: sentences about it for the report's warnings.
        facts: what the report shows about the scan; nothing that names a person.
        headers: of the DICOM slices by name, see `tools.volumes.dicom_file`; empty for NIfTI.
        identifiers: of the patient and the study, for --keep-identifiers only.
    """

    volume: Any
    kind: str
    notes: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    headers: dict[Path, pydicom.Dataset] = field(default_factory=dict)
    identifiers: dict[str, str] = field(default_factory=dict)


def read_scan(source: Source, series: str | int | None, work: Path, allow_gaps: bool = False) -> Scan:
    """Read a NIfTI file, or choose, check, convert and read a series of a DICOM study.

    Args:
        source: no zip.
        series: number or UID of the series; None chooses, see `headct.predict.input.head_series`.
        work: folder for the conversion, which is removed before this returns.
        allow_gaps: take a series whose slices are not all there.

    Raises:
        InputError: see `tools.volumes.read.read_volume` and `headct.predict.input.head_series`.
    """
    if source.study is None:
        scan = Scan(read_volume(source.path, orientation=None), "nifti", form_doubts(source.path))
    else:
        from headct.predict.input.head_series import check_slices, choose_series  # not for NIfTI
        from tools.volumes.dicom import convert_files

        chosen, notes = choose_series(source.path, source.study, series)
        chosen, more = check_slices(source.path, chosen, source.study, allow_gaps)
        notes += more
        with convert_files(chosen.headers, source.path, work) as nifti:
            volume = read_volume(nifti, orientation=None, name=source.path)
        scan = Scan(volume, "dicom", notes, headers=chosen.headers)
        scan.facts["series"] = f"number {chosen.series.number}, {len(chosen.headers)} images"
        if description := public_words(chosen.series.description):
            scan.facts["series"] += f" ({description})"
        if uid := str(chosen.first.get("StudyInstanceUID", "") or ""):
            scan.facts["StudyInstanceUID"] = uid
        if chosen.thickness:
            scan.facts["slice thickness"] = f"{chosen.thickness:g} mm"
        scan.identifiers = _identifiers(chosen.first)
    _check_size(source.path, scan.volume)
    scan.notes += _check_levels(source.path, scan)
    scan.notes += _check_head(source.path, scan.volume, series is not None)
    shape = "x".join(str(n) for n in scan.volume.shape[1:])
    spacing = " x ".join(f"{float(mm):.2f}" for mm in scan.volume.pixdim)
    scan.facts["voxels"] = f"{shape}, {spacing} mm"
    return scan


def neutral_name(name: str, source: Source) -> str:
    """The case's name; of DICOM images one from their UIDs, since folders are called by patients."""
    if source.study is None or not source.study.headers:
        return name
    uid, headers = study_uid(source), source.study.headers.values()
    return names.neutral_name(*([uid] if uid else sorted(str(h.get("SOPInstanceUID", "")) for h in headers)))


def study_uid(source: Source) -> str:
    """StudyInstanceUID of DICOM images; empty where there is none."""
    headers = source.study.headers.values() if source.study else ()
    return next((str(h.StudyInstanceUID) for h in headers if h.get("StudyInstanceUID")), "")


def _check_size(path: Path, volume: Any) -> None:
    """Refuse slices of a size that no head CT has: their affine is wrong."""
    size = sorted(float(mm) * n for mm, n in zip(volume.pixdim, volume.shape[1:], strict=True))
    if not (SIZE_MM[0] <= size[1] and size[2] <= SIZE_MM[1]):
        found = " x ".join(f"{float(mm):.3g}" for mm in volume.pixdim)
        raise InputError(
            f"{path}: expected slices of {SIZE_MM[0]:g} to {SIZE_MM[1]:g} mm, found voxels of {found} mm and "
            f"{' x '.join(str(n) for n in volume.shape[1:])} of them: the affine is wrong, or its unit"
        )


def _check_levels(path: Path, scan: Scan) -> list[str]:
    """Refuse DICOM slices whose values as a whole are off, as by a wrong rescale; sentences on the rest."""
    values, spacing = in_slices(scan.volume)
    if scan.kind == "nifti":
        return level_doubts(values, spacing)
    rescales = {
        (str(header.get("RescaleSlope")), str(header.get("RescaleIntercept")))
        for header in scan.headers.values()
    }
    odd = odd_slices(values, spacing, len(rescales) > 1)
    if odd:
        raise InputError(
            f"{path}: expected values that go on from slice to slice, found "
            f"{describe_odd(odd, values.shape[-1])}: wrong rescale"
        )
    return level_doubts(values, spacing)


def _check_head(path: Path, volume: Any, by_hand: bool) -> list[str]:
    """Refuse a volume that is long enough to show a head and shows none.

    Returns:
        a sentence, where a thin slab shows none, or where the user chose the series.
    """
    spacing = [float(mm) for mm in volume.pixdim]
    shown = head_extent_mm(volume[0].numpy(), spacing)
    across = int(np.argmax(spacing))
    length = spacing[across] * volume.shape[1 + across]
    if shown >= HEAD_MM:
        if shown < PART_MM and length > WHOLE_MM:
            return [
                f"Only about {shown:.0f} of {length:.0f} mm show brain within a skull: this may be another "
                "part of the body, with little of the head."
            ]
        return []
    if length >= SLAB_MM and not by_hand:
        raise InputError(f"{path}: expected a head, found no slice on which a skull surrounds brain")
    return ["No slice shows brain within a skull: this may be no head, or a part of one."]


def _identifiers(header: pydicom.Dataset) -> dict[str, str]:
    return {keyword: str(header.get(keyword)) for keyword in IDENTIFIERS if header.get(keyword)}
