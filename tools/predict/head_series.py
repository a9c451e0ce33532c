"""Which series of a DICOM study is the head CT without contrast, and whether its slices make a volume."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from tools.dicom import Series
from tools.enhanced_dicom import is_multi_frame, slice_headers
from tools.errors import InputError
from tools.predict.sources import Study

__all__ = ["HeadSeries", "check_slices", "choose_series", "list_of"]

WISHED_MM = 5.0  # slice thickness: what the models were made for
FEWEST_SLICES = 8  # fewer are no head
LOCALIZER = re.compile(r"localizer|scout|topogram|surview|scanogram", re.I)
NO_CONTRAST = re.compile(
    r"non.?contrast|(without|w/?o|no|sans|ohne)\W*(iv\W*)?(contrast|c\b|km\b)|native?\b|\bncct\b", re.I
)
CONTRAST = re.compile(
    r"\bcta\b|\bctv\b|\bctp\b|angio|contrast|perfusion|arter|venous|\bpost\b|\bmip\b|\+\s?c\b|\bkm\b", re.I
)
BONE = re.compile(r"\bbones?\b|knochen|osseux|osseo", re.I)
# GE; Siemens (H60 and more, also Hr, J, B, Br); Canon/Toshiba; Philips
BONE_KERNEL = re.compile(
    r"^(bone\w*|edge|lung|ultra.*)$|^(H|Hr|HC|J|B|Br|Bl|U)[6-9]\d|^FC(3\d|5\d|8\d)|^(D|E|YC|YD|YE)$", re.I
)
HEAD_PARTS = re.compile(r"head|brain|skull|cran|kopf|sch[aä]del|tete|cerebr|neuro|neck", re.I)


@dataclass
class HeadSeries:
    """One series with the header of every slice by the slice's name, see `tools.enhanced_dicom`."""

    series: Series
    headers: dict[Path, pydicom.Dataset]
    unusable: str  # why it can't be predicted at all; empty if it can
    unsuitable: str  # why it is taken only if the user says so; empty if it is a plain head CT

    @property
    def first(self) -> pydicom.Dataset:
        """Header of one slice; what it is used for is the same in all."""
        return next(iter(self.headers.values()))

    @property
    def thickness(self) -> float:
        """Slice thickness in mm, 0 if not stated."""
        return _number(self.first.get("SliceThickness"))


def list_of(study: Study) -> list[HeadSeries]:
    """All series of a study, by their numbers."""
    by_uid: dict[str, dict[Path, pydicom.Dataset]] = {}
    for file, header in study.headers.items():
        by_uid.setdefault(str(header.get("SeriesInstanceUID", "")), {})[file] = header
    found = []
    for uid, headers in by_uid.items():
        first = next(iter(headers.values()))
        number, text = str(first.get("SeriesNumber", "?")), str(first.get("SeriesDescription", ""))
        modality = str(first.get("Modality", "?"))
        series = Series(uid, number, text, modality, list(headers))
        slices: dict[Path, pydicom.Dataset] = {}
        for file, header in headers.items():
            slices.update(slice_headers(file, header))
        unusable = _unusable(headers, slices)
        slices = slices or headers
        found.append(HeadSeries(series, slices, unusable, _unsuitable(next(iter(slices.values())))))
    return sorted(found, key=lambda s: (s.series.number.zfill(8), s.series.uid))


def choose_series(path: Path, study: Study, choice: str | None = None) -> tuple[HeadSeries, list[str]]:
    """The series to predict: the plain head CT whose slices are nearest to 5 mm, or the one that is asked
    for.

    Args:
        path: for messages.
        study: see `tools.predict.sources`.
        choice: number or UID of a series, which is then taken even with contrast or a bone kernel.

    Returns:
        the series, and sentences about the choice.

    Raises:
        InputError: there is no such series, or none that can be taken.
    """
    available = list_of(study)
    listing = "; ".join(_described(s) for s in available)
    if choice is not None:
        chosen = [s for s in available if str(choice) in (s.series.uid, s.series.number)]
        if not chosen:
            raise InputError(f"{path}: expected a series with number or UID {choice}, found: {listing}")
        if len(chosen) > 1:
            raise InputError(
                f"{path}: expected one series {choice}, found {len(chosen)}: {listing}; give its UID"
            )
        if chosen[0].unusable:
            raise InputError(f"{path}: expected an axial head CT, found {_described(chosen[0])}")
        notes = [f"The series was chosen by hand though it looks unsuitable: {chosen[0].unsuitable}."]
        return chosen[0], notes if chosen[0].unsuitable else []
    fit = [s for s in available if not (s.unusable or s.unsuitable)]
    if not fit:
        hint = "" if all(s.unusable for s in available) else "; --series NUMBER takes one nevertheless"
        raise InputError(
            f"{path}: expected a head CT without contrast in a soft kernel, found {listing}{hint}"
        )
    best = min(fit, key=lambda s: (_not_original(s), abs((s.thickness or 99) - WISHED_MM)))
    if len(available) == 1:
        return best, []
    others = "; ".join(_described(s) for s in available if s is not best)
    return best, [f"Chosen of {len(available)} series: {_described(best)}. Not taken: {others}."]


def check_slices(path: Path, chosen: HeadSeries, study: Study) -> list[str]:
    """Check that the slices of a series make one gapless volume.

    Returns:
        sentences on what is unusual: gantry tilt and uneven distances, which are corrected.

    Raises:
        InputError: a file beside them is damaged, orientations or sizes differ, slices are missing or double.
    """
    folders = {file.parent for file in chosen.series.files}
    for file, reason in study.broken.items():
        if file.parent in folders:
            raise InputError(f"{file}: expected a DICOM image like the others of its folder, found {reason}")
    files = list(chosen.headers)
    axes = np.array([_vector(file, h, "ImageOrientationPatient", 6) for file, h in chosen.headers.items()])
    positions = np.array([_vector(file, h, "ImagePositionPatient", 3) for file, h in chosen.headers.items()])
    turned = np.abs(axes - axes[0]).max(1) > 0.01
    if turned.any():
        odd = files[int(turned.argmax())]
        raise InputError(
            f"{odd}: expected the orientation of {files[0].name}, found another one in one series"
        )
    sizes = [(int(h.Rows), int(h.Columns)) for h in chosen.headers.values()]
    for file, size in zip(files, sizes, strict=True):
        if size != sizes[0]:
            raise InputError(f"{file}: expected {sizes[0]} pixels like {files[0].name}, found {size}")
    for file, header in chosen.headers.items():
        spacing = _vector(file, header, "PixelSpacing", 2)
        if min(spacing) <= 0:
            raise InputError(f"{file}: expected a pixel spacing above 0 mm, found {spacing}")
    normal = np.cross(axes[0][:3], axes[0][3:])
    along = positions @ normal
    order = np.argsort(along)
    steps = np.diff(along[order])
    _check_steps(files, order, steps)
    return _geometry_notes(positions[order], normal, steps)


def _check_steps(files: list[Path], order: np.ndarray, steps: np.ndarray) -> None:
    same = np.flatnonzero(steps < 0.01)
    if len(same):
        a, b = files[order[same[0]]], files[order[same[0] + 1]]
        raise InputError(
            f"{b}: expected each slice once, found it at the position of {a.name}: a duplicate, or several "
            "scans in one series"
        )
    # a zone of wider steps is how some scanners work; one wide step between narrow ones is a missing slice
    for i, step in enumerate(steps):
        beside = [steps[j] for j in (i - 1, i + 1) if 0 <= j < len(steps)]
        if len(steps) > 2 and all(step > 1.7 * other for other in beside):
            a, b = files[order[i]], files[order[i + 1]]
            raise InputError(
                f"{b}: expected it {min(beside):.1f} mm from {a.name} as slices are beside them, found "
                f"{step:.1f} mm: slices are missing"
            )


def _geometry_notes(positions: np.ndarray, normal: np.ndarray, steps: np.ndarray) -> list[str]:
    notes = []
    travel = positions[-1] - positions[0]
    travel = travel / np.linalg.norm(travel)
    tilt = float(np.degrees(np.arccos(min(abs(float(travel @ normal)), 1.0))))
    if tilt > 1:
        notes.append(
            f"The gantry was tilted by {tilt:.1f} degrees: the volume was straightened by "
            f"resampling, the DICOM SEG lies "
            "on the original slices."
        )
    if steps.max() > 1.05 * steps.min():
        notes.append(
            f"Slice distances vary from {steps.min():.1f} to {steps.max():.1f} mm: they were evened out by "
            "resampling."
        )
    return notes


def _described(s: HeadSeries) -> str:
    why = s.unusable or s.unsuitable
    text = s.series.description or "no description"
    return f"number {s.series.number} ({text}, {len(s.headers)} slices{', ' + why if why else ''})"


def _unusable(headers: dict[Path, pydicom.Dataset], slices: dict[Path, pydicom.Dataset]) -> str:
    """Why files, and the slices in them, are no head CT; empty if they are one."""
    first = next(iter(headers.values()))
    modality = str(first.get("Modality", "?"))
    if modality != "CT":
        return f"modality {modality}"
    if LOCALIZER.search(" ".join(map(str, first.get("ImageType") or []))) or LOCALIZER.search(
        str(first.get("SeriesDescription", ""))
    ):
        return "a scout view"
    if int(first.get("SamplesPerPixel", 1)) != 1:
        return "colour pictures"
    if any(is_multi_frame(header) for header in headers.values()) and len(headers) > 1:
        return "several multi-frame images, of which one is supported"
    if not slices:
        return "a multi-frame image that does not say where its frames lie"
    axes = next(iter(slices.values())).get("ImageOrientationPatient")
    if axes is not None and len(axes) == 6:
        normal = np.cross(np.array(axes[:3], float), np.array(axes[3:], float))
        if abs(normal[2]) < 0.7:
            return "not axial"
    if len(slices) < FEWEST_SLICES:
        return f"expected {FEWEST_SLICES} slices or more"
    return ""


def _unsuitable(first: pydicom.Dataset) -> str:
    # one field at a time: "without contrast" in the study's name says nothing about a series called CTA
    for keyword in ("SeriesDescription", "ProtocolName"):
        text = str(first.get(keyword, "") or "")
        if NO_CONTRAST.search(text):
            break
        if CONTRAST.search(text):
            return f"with contrast by its {keyword}"
    if str(first.get("ContrastBolusAgent", "") or "").strip():
        return "with contrast agent"
    kernel = first.get("ConvolutionKernel") or ""
    kernels = [str(kernel)] if isinstance(kernel, str) else [str(k) for k in kernel]
    if any(BONE_KERNEL.search(k.strip()) for k in kernels):
        return f"bone kernel {kernels[0]}"
    if BONE.search(str(first.get("SeriesDescription", ""))):
        return "bone kernel by its description"
    part = str(first.get("BodyPartExamined", "") or "")
    if part and not HEAD_PARTS.search(part):
        return f"body part {part}"
    return ""


def _not_original(s: HeadSeries) -> bool:
    return "ORIGINAL" not in [str(part).upper() for part in s.first.get("ImageType") or ["ORIGINAL"]]


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return 0.0


def _vector(file: Path, header: pydicom.Dataset, keyword: str, count: int) -> list[float]:
    value = header.get(keyword)
    numbers = [_number(v) for v in value] if value is not None and not isinstance(value, str | float) else []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise InputError(f"{file}: expected {count} numbers in {keyword}, found {value}")
    return numbers
