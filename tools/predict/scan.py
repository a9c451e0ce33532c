"""From a source to one checked volume on disk and in memory, and what is known of the scan."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom

from tools.errors import InputError
from tools.predict.sources import Source

__all__ = ["Scan", "neutral_name", "read_scan"]

VOXEL_MM = (0.1, 20.0)
SIZE_MM = (20.0, 1000.0)
IDENTIFIERS = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDate")


@dataclass
class Scan:
    """One CT, loaded.

    Attributes:
        volume: MetaTensor (1, X, Y, Z), HU, in the orientation of its file.
        kind: "nifti" or "dicom".
        notes: sentences about it for the report's warnings.
        facts: what the report shows about the scan; nothing that names a person.
        headers: of the DICOM slices by name, see `tools.enhanced_dicom`; empty for NIfTI.
        identifiers: of the patient and the study, for --keep-identifiers only.
    """

    volume: Any
    kind: str
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    headers: dict[Path, pydicom.Dataset] = field(default_factory=dict)
    identifiers: dict[str, str] = field(default_factory=dict)


def read_scan(source: Source, series: str | None, work: Path) -> Scan:
    """Read a NIfTI file, or choose, check, convert and read a series of a DICOM study.

    Args:
        source: no zip.
        series: number or UID of the series; None chooses, see `tools.predict.head_series`.
        work: folder for the conversion, which is removed before this returns.

    Raises:
        InputError: see `tools.volume_io.read_volume` and `tools.predict.head_series`.
    """
    from tools.volume_io import read_volume

    if source.study is None:
        scan = Scan(read_volume(source.path, orientation=None), "nifti")
    else:
        from tools.dicom import convert_files
        from tools.predict.head_series import check_slices, choose_series

        chosen, notes = choose_series(source.path, source.study, series)
        notes += check_slices(source.path, chosen, source.study)
        with convert_files(chosen.series, source.path, work) as nifti:
            volume = read_volume(nifti, orientation=None, name=source.path)
        scan = Scan(volume, "dicom", notes, headers=chosen.headers)
        scan.facts["series"] = f"number {chosen.series.number}, {len(chosen.headers)} images"
        if chosen.series.description:
            scan.facts["series"] += f" ({chosen.series.description})"
        if chosen.thickness:
            scan.facts["slice thickness"] = f"{chosen.thickness:g} mm"
        scan.identifiers = _identifiers(chosen.first)
    _check_size(source.path, scan.volume)
    shape = "x".join(str(n) for n in scan.volume.shape[1:])
    spacing = " x ".join(f"{float(mm):.2f}" for mm in scan.volume.pixdim)
    scan.facts["voxels"] = f"{shape}, {spacing} mm"
    return scan


def neutral_name(name: str, source: Source) -> str:
    """The case's name, or one from a checksum where it holds the patient's name, number or date of birth."""
    if source.study is None or not source.study.headers:
        return name
    words: set[str] = set()
    for header in source.study.headers.values():
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber"):
            words.update(re.split(r"[\W_]+", str(header.get(keyword, "") or "").lower()))
        break  # one study is one patient
    parts = set(re.split(r"[\W_]+", name.lower())) | {re.sub(r"[\W_]+", "", name.lower())}
    if any(len(word) > 2 and any(word in part for part in parts) for word in words):
        return "case_" + hashlib.sha256(source.study.uid.encode()).hexdigest()[:8]
    return name


def _check_size(path: Path, volume: Any) -> None:
    """Refuse voxels and volumes of a size that no head CT has: their affine is wrong."""
    spacing = [float(mm) for mm in volume.pixdim]
    size = [mm * n for mm, n in zip(spacing, volume.shape[1:], strict=True)]
    if not all(VOXEL_MM[0] <= mm <= VOXEL_MM[1] for mm in spacing) or not (
        SIZE_MM[0] <= min(size) and max(size) <= SIZE_MM[1]
    ):
        raise InputError(
            f"{path}: expected voxels of {VOXEL_MM[0]:g} to {VOXEL_MM[1]:g} mm and a scan of "
            f"{SIZE_MM[0]:g} to "
            f"{SIZE_MM[1]:g} mm, found voxels of {' x '.join(f'{mm:.3g}' for mm in spacing)} mm and a scan "
            f"of {' x '.join(f'{mm:.4g}' for mm in size)} mm: the affine is wrong"
        )


def _identifiers(header: pydicom.Dataset) -> dict[str, str]:
    return {keyword: str(header.get(keyword)) for keyword in IDENTIFIERS if header.get(keyword)}
