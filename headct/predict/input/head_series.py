"""Which series of a DICOM study is the head CT without contrast, and whether its slices make a volume."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headct.predict.input.head_check import HEAD_MM, is_head_slice
from headct.predict.input.sources import Study
from headct.predict.input.words import body_part, contrast, is_bone_kernel, is_scout, public_words
from tools.core.errors import InputError
from tools.core.extras import extra_packages
from tools.core.names import listed
from tools.volumes.dicom import Series, check_one_patient, series_of
from tools.volumes.dicom_file import (
    file_of,
    is_multi_frame,
    number_of,
    numbers_of,
    read_dicom,
    slice_headers,
)
from tools.volumes.stack import in_one_plane, stack_slices

with extra_packages("reading DICOM"):
    import pydicom
    from pydicom.pixels import apply_rescale

__all__ = ["HeadSeries", "check_slices", "choose_series", "head_series"]

WISHED_MM = 5.0  # slice thickness: what the models were made for
FEW_SLICES = 8  # fewer are taken only where nothing else is there
WHOLE_MM = 80.0  # of head that a scan of a whole one shows at least
NO_AGENT = ("", "none", "no", "nil", "without", "non", "null", "0", "n/a", "oral")
FEW_SCOUTS = 4
#: CT, enhanced CT, legacy converted enhanced CT
CT_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.2{end}" for end in ("", ".1", ".2"))
#: Units of RescaleType that are no HU.
OTHER_UNITS = ("MGML", "Z_EFF", "ED", "EDW", "PCT", "OD", "HU_MOD")
SAMPLED = 12  # slices of a series that are looked at, where there is a choice


@dataclass
class HeadSeries:
    """One series with the header of every slice by the slice's name, see `tools.volumes.dicom_file`."""

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
        return number_of(self.first, "SliceThickness")


def head_series(study: Study) -> list[HeadSeries]:
    """All series of a study, by their numbers.

    Raises:
        InputError: the study holds images of two patients.
    """
    found = []
    check_one_patient(study.headers)
    for series in series_of(study.headers):
        headers = {file: study.headers[file] for file in series.files}
        slices: dict[Path, pydicom.Dataset] = {}
        for file, header in headers.items():
            slices.update(slice_headers(file, header))
        try:  # what the series is, its stack says, and not a scout or a screenshot beside it
            stack = in_one_plane(slices)[0] if slices else slices
        except InputError:
            stack = slices
        unusable = _unusable({file_of(name): headers[file_of(name)] for name in stack} or headers, stack)
        slices = slices or headers
        unsuitable = _unsuitable(next(iter((stack or slices).values())))
        found.append(HeadSeries(series, slices, unusable, unsuitable))
    return found


def choose_series(path: Path, study: Study, choice: str | int | None = None) -> tuple[HeadSeries, list[str]]:
    """The series to predict: the plain head CT whose slices are nearest to 5 mm, or the one that is asked
    for.

    Args:
        path: for messages.
        study: see `headct.predict.input.sources`.
        choice: number or UID of a series, which is then taken even with contrast or a bone kernel.

    Returns:
        the series, and sentences about the choice.

    Raises:
        InputError: there is no such series, or none that can be taken.
    """
    available = head_series(study)
    listing = listed(_described(s) for s in available)
    if choice is not None:
        chosen = [s for s in available if s.series.is_called(choice)]
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
    best = min(fit, key=_rank) if len(fit) > 1 else fit[0]
    if len(available) == 1:
        return best, []
    joined, taken = _with_neighbours(best, fit)
    others = listed(_described(s) for s in available if all(s is not one for one in taken))
    notes = []
    if len(taken) > 1:
        notes.append("Joined to one scan: " + listed(_described(s) for s in taken) + ".")
    if others:
        notes.insert(0, f"Chosen of {len(available)} series: {_described(best)}. Not taken: {others}.")
    return joined, notes


def _rank(s: HeadSeries) -> tuple[float, ...]:
    """Smaller is better: what the pictures show, then the words, then the thickness nearest to 5 mm."""
    shown = _head_mm(s)
    part = {"other": 2, "part": 1}.get(body_part(s.series.description), 0)
    whole = 1 if shown is None else float(shown < HEAD_MM) * 3 + float(shown < WHOLE_MM)
    few = len(s.headers) < FEW_SLICES
    return (whole, part, few, _not_original(s), abs((s.thickness or 99) - WISHED_MM))


def _head_mm(s: HeadSeries) -> float | None:
    """mm of head that some slices of a series show, or None if they cannot be read."""
    try:
        kept, _ = stack_slices(s.headers, allow_gaps=True)
        files = list(kept)
        chosen = np.unique(np.linspace(0, len(files) - 1, SAMPLED).round().astype(int))
        shown = [_shows_head(files[k]) for k in chosen]
        ends = [np.array(kept[file].ImagePositionPatient, dtype=float) for file in (files[0], files[-1])]
    except Exception:  # of many kinds; what is wrong is said when the series is read
        return None
    return float(np.mean(shown)) * float(np.linalg.norm(ends[1] - ends[0]))


def _shows_head(file: Path) -> bool:
    image = read_dicom(file)
    hu = np.asarray(apply_rescale(image.pixel_array, image), dtype=np.float32)
    return is_head_slice(hu, [float(mm) for mm in image.PixelSpacing])


def _with_neighbours(best: HeadSeries, fit: list[HeadSeries]) -> tuple[HeadSeries, list[HeadSeries]]:
    """The series with those that go on where it ends: skull base and vault are at times two of one scan.

    Returns:
        the slices of all together, and the series they come from.
    """
    spans = {id(s): span for s in fit if (span := _span(s)) is not None}
    joined, taken = best, [best]
    while True:
        own = _span(joined)
        if own is None:
            return joined, taken
        for other in fit:
            span = spans.get(id(other))
            if span is None or any(other is one for one in taken) or not span.follows(own):
                continue
            joined = replace(joined, headers={**joined.headers, **span.beyond(own, other.headers)})
            taken.append(other)
            break
        else:
            return joined, taken


@dataclass(frozen=True)
class _Span:
    """Where a series lies: its plane, its corner within the plane, and from where to where it goes, in mm."""

    plane: tuple[object, ...]
    corner: tuple[float, ...]
    low: float
    high: float
    step: float

    def follows(self, other: _Span) -> bool:
        gap = max(self.low - other.high, other.low - self.high)
        nearby = max(abs(a - b) for a, b in zip(self.corner, other.corner, strict=True)) < 1
        shared = 0.5 * min(self.high - self.low, other.high - other.low)
        goes_on = -shared < gap <= 1.5 * max(self.step, other.step)
        return self.plane == other.plane and nearby and goes_on

    def beyond(self, other: _Span, headers: dict[Path, pydicom.Dataset]) -> dict[Path, pydicom.Dataset]:
        """Of the headers of this series, those of slices that lie outside another one."""
        axes = np.array(self.plane[:6], dtype=float)
        normal = np.cross(axes[:3], axes[3:])
        margin = 0.3 * min(self.step, other.step)
        result = {}
        for name, header in headers.items():
            position = header.get("ImagePositionPatient")
            if position is None:
                continue
            height = float(np.array(position, dtype=float) @ normal)
            if not other.low - margin <= height <= other.high + margin:
                result[name] = header
        return result


def _span(s: HeadSeries) -> _Span | None:
    try:
        kept, _ = stack_slices(s.headers, allow_gaps=True)
    except InputError:
        return None
    headers = list(kept.values())
    if len(headers) < 2 or _not_original(s):
        return None
    axes = np.array(headers[0].ImageOrientationPatient, dtype=float)
    normal = np.cross(axes[:3], axes[3:])
    positions = np.array([h.ImagePositionPatient for h in headers], dtype=float)
    heights = positions @ normal
    steps = np.diff(heights)
    spacing = [round(float(v), 3) for v in headers[0].PixelSpacing]
    plane = (*np.round(axes, 2) + 0.0, *spacing, headers[0].Rows, headers[0].Columns)
    frame = str(headers[0].get("FrameOfReferenceUID", ""))
    corner = (float(positions[0] @ axes[:3]), float(positions[0] @ axes[3:]))
    return _Span((*plane, frame), corner, float(heights[0]), float(heights[-1]), float(steps.max()))


def check_slices(
    path: Path, chosen: HeadSeries, study: Study, allow_gaps: bool = False
) -> tuple[HeadSeries, list[str]]:
    """The slices of a series that make one gapless volume.

    Returns:
        the series with these slices alone, and sentences on what is unusual: images left out, gantry tilt and
        uneven distances, which are corrected.

    Raises:
        InputError: a file beside them is damaged; see `tools.volumes.stack.stack_slices`.
    """
    folders = {file.parent for file in chosen.series.files}
    for file, reason in study.broken.items():
        if file.parent in folders:
            raise InputError(f"{file}: expected a DICOM image like the others of its folder, found {reason}")
    slices, notes = stack_slices(chosen.headers, allow_gaps, "; --allow-gaps takes it nevertheless")
    if len(slices) < 2:
        raise InputError(f"{path}: expected a volume of several slices, found one: {_described(chosen)}")
    if len(slices) < FEW_SLICES:
        notes.append(f"Only {len(slices)} slices: what lies above and below them is not known to the model.")
    return replace(chosen, headers=slices), notes + _geometry_notes(list(slices.values()))


def _geometry_notes(headers: list[pydicom.Dataset]) -> list[str]:
    notes = []
    axes = np.array(headers[0].ImageOrientationPatient, dtype=float)
    normal = np.cross(axes[:3], axes[3:])
    positions = np.array([header.ImagePositionPatient for header in headers], dtype=float)
    steps = np.diff(positions @ normal)
    travel = positions[-1] - positions[0]
    travel = travel / np.linalg.norm(travel)
    tilt = float(np.degrees(np.arccos(min(abs(float(travel @ normal)), 1.0))))
    if tilt > 1:
        notes.append(
            f"The gantry was tilted by {tilt:.1f} degrees: the volume was straightened by "
            f"resampling, the DICOM SEG lies "
            "on the original slices."
        )
    thick = max(number_of(header, "SliceThickness") for header in headers)
    if thick > 0 and float(np.median(steps)) > 1.6 * thick:
        notes.append(
            f"Slices are {thick:g} mm thick and {float(np.median(steps)):.1f} mm apart: what lies between "
            "them was not seen, or every second slice is missing."
        )
    if steps.max() > 1.05 * steps.min():
        notes.append(
            f"Slice distances vary from {steps.min():.1f} to {steps.max():.1f} mm: they were evened out by "
            "resampling."
        )
    return notes


def _described(s: HeadSeries) -> str:
    why = s.unusable or s.unsuitable
    text = public_words(s.series.description) or "no description"
    return f"number {s.series.number} ({text}, {len(s.headers)} slices{', ' + why if why else ''})"


def _unusable(headers: dict[Path, pydicom.Dataset], slices: dict[Path, pydicom.Dataset]) -> str:
    """Why files, and the slices in them, are no head CT; empty if they are one."""
    first = next(iter(headers.values()))
    modality = str(first.get("Modality", "") or "") or _modality_of(first)
    if modality != "CT":
        return f"modality {modality}"
    named = len(slices) <= FEW_SCOUTS and is_scout(first.get("SeriesDescription"))
    if named or is_scout(" ".join(map(str, first.get("ImageType") or []))):
        return "a scout view"
    if number_of(first, "SamplesPerPixel", 1) != 1:
        return "colour pictures"
    if any(is_multi_frame(header) for header in headers.values()) and len(headers) > 1:
        return "several multi-frame images, of which one is supported"
    if not slices:
        return "a multi-frame image that does not say where its frames lie"
    axes = numbers_of(next(iter(slices.values())), "ImageOrientationPatient")
    if len(axes) == 6:
        normal = np.cross(axes[:3], axes[3:])
        if abs(normal[2]) < 0.7:
            return "not axial"
    if len(slices) < 2:
        return "one slice is no volume"
    return ""


def _modality_of(header: pydicom.Dataset) -> str:
    """CT where the class of the image says so, or where nothing else does but it has HU."""
    sop = str(header.get("SOPClassUID", "") or "")
    if sop:
        return "CT" if sop in CT_CLASSES else "not stated"
    return "CT" if header.get("RescaleIntercept") not in (None, "") else "not stated"


def _unsuitable(first: pydicom.Dataset) -> str:
    # one field at a time: "without contrast" in the study's name says nothing about a series called CTA
    unit = str(first.get("RescaleType", "") or "").upper()
    if unit in OTHER_UNITS:
        return f"a computed map in {unit}, not in HU"
    kind = " ".join(str(part) for part in (first.get("ImageType") or [])[2:])
    if contrast(kind) == "other":
        return f"vessels, perfusion or a computed map by its ImageType ({public_words(kind)})"
    said = ""
    for keyword in ("SeriesDescription", "ProtocolName"):
        said = contrast(first.get(keyword))
        if said == "with":
            return f"with contrast by its {keyword}"
        if said == "other":
            return f"vessels, perfusion or a computed map by its {keyword}"
        if said:
            break
    if said != "without" and str(first.get("ContrastBolusAgent", "") or "").strip().lower() not in NO_AGENT:
        return "with contrast agent"
    kernel = first.get("ConvolutionKernel") or ""
    kernels = [kernel] if isinstance(kernel, str) else [str(k) for k in kernel]
    if is_bone_kernel(kernels, first.get("SeriesDescription")):
        return f"bone kernel {public_words(kernels[0])}" if kernels[0] else "bone kernel by its description"
    for keyword in ("SeriesDescription", "BodyPartExamined"):
        part = body_part(first.get(keyword))
        if part == "other":
            return f"body part {public_words(first.get(keyword)) or 'other than the head'}"
        if part == "head":  # what the series is called comes before the part that the whole protocol names
            break
    return ""


def _not_original(s: HeadSeries) -> bool:
    return "ORIGINAL" not in [str(part).upper() for part in s.first.get("ImageType") or ["ORIGINAL"]]
