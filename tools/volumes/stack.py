"""Which images of a DICOM series are the slices of one volume: what is beside them, twice, or missing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from tools.core.errors import InputError
from tools.core.extras import extra_packages
from tools.core.names import listed
from tools.volumes.dicom_file import file_of, number_of, numbers_of, read_dicom

with extra_packages("reading DICOM"):
    import pydicom

Headers = Mapping[Path, pydicom.Dataset]
SAME_MM = 0.01  # two slices at one position
GAP = 1.6  # times thickness and usual distance: wider is a missing slice
SCOUTS = 2  # images of another plane that are scouts even beside few slices
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MOST_PASSES = 3  # over the same head; more are a perfusion study
BESIDE = ("LOCALIZER", "SECONDARY", "SCREEN SAVE", "SCREENSHOT", "DOSE", "OTHER")
PLANE = ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")


def stack_slices(
    headers: Headers, allow_gaps: bool = False, advice: str = ""
) -> tuple[dict[Path, pydicom.Dataset], list[str]]:
    """Choose the slices of one volume from the images of a series, and check that none is missing.

    Args:
        headers: of each slice by its name, see `tools.volumes.dicom_file.slice_headers`.
        allow_gaps: only say in a note that slices are missing.
        advice: what a user can do about missing slices, for the end of that message.

    Returns:
        the slices in the order of their positions, and sentences about what was left out and what is unusual.

    Raises:
        InputError: no slices; two volumes of different size or orientation; another image at the same
            position; slices are missing; some slices say how values become HU and others do not.
    """
    notes: list[str] = []
    slices, beside = in_one_plane(headers)
    if beside:
        notes.append(
            f"{_count(len(beside), 'image')} of the series {_is(len(beside))} no slice of its stack and "
            f"{_was(len(beside))} left out: {_names(beside)}."
        )
    slices = _without_copies(slices, notes)
    slices = _one_pass(slices, notes)
    _check_rescale(slices)
    files = sorted(slices, key=lambda file: _height(slices[file]))
    try:
        notes += _check_steps([(file, slices[file]) for file in files], allow_gaps, advice)
    except InputError as error:
        raise InputError(" ".join([str(error), *notes])) from error
    return {file: slices[file] for file in files}, notes


def corner_of(header: pydicom.Dataset) -> np.ndarray | None:
    """RAS+ mm of the last row's first pixel, which dcm2niix makes the first voxel; None if not stated."""
    axes, position, spacing = (np.array(numbers_of(header, keyword)) for keyword in PLANE)
    if (len(axes), len(position), len(spacing)) != (6, 3, 2):
        return None
    return (position + (int(header.Rows) - 1) * spacing[0] * axes[3:]) * (-1, -1, 1)


def vector(file: Path, header: pydicom.Dataset, keyword: str, count: int) -> np.ndarray:
    """`count` finite numbers of an attribute.

    Raises:
        InputError: it has others.
    """
    numbers = numbers_of(header, keyword)
    if len(numbers) != count:
        raise InputError(f"{file}: expected {count} numbers in {keyword}, found {header.get(keyword)}")
    return np.array(numbers)


def _height(header: pydicom.Dataset) -> float:
    """mm along the direction that is across the slice."""
    axes = np.array(header.ImageOrientationPatient, dtype=float)
    return float(np.cross(axes[:3], axes[3:]) @ np.array(header.ImagePositionPatient, dtype=float))


def _heights(slices: Headers) -> list[float]:
    return [_height(header) for header in slices.values()]


def in_one_plane(headers: Headers) -> tuple[dict[Path, pydicom.Dataset], list[Path]]:
    """The slices that are parallel and of one size, and the images that are none of them.

    Scouts, screenshots, dose pages and pictures in colour are none.

    Raises:
        InputError: no slices; slices that do not say where they lie; many of another size or orientation.
    """
    groups: list[tuple[np.ndarray, dict[Path, pydicom.Dataset]]] = []
    beside: list[Path] = []
    for file, header in headers.items():
        if _is_beside(header):
            beside.append(file)
            continue
        axes = vector(file, header, "ImageOrientationPatient", 6)
        vector(file, header, "ImagePositionPatient", 3)
        spacing = vector(file, header, "PixelSpacing", 2)
        if min(spacing) <= 0:
            raise InputError(f"{file}: expected a pixel spacing above 0 mm, found {spacing.tolist()}")
        plane = np.array([*axes, *(spacing / 10), int(header.Rows), int(header.Columns)])
        for other, group in groups:
            if np.abs(plane - other).max() < 0.01:
                group[file] = header
                break
        else:
            groups.append((plane, {file: header}))
    if not groups:
        raise InputError(f"{next(iter(headers))}: expected slices that say where they lie, found none")
    groups.sort(key=lambda pair: -len(pair[1]))
    main, rest = groups[0], groups[1:]
    for plane, group in rest:
        odd = next(iter(group))
        if 5 * len(group) >= len(main[1]) and (len(group) > SCOUTS or len(group) == len(main[1])):
            turned = np.abs(plane[:6] - main[0][:6]).max() >= 0.01
            what = "orientation" if turned else "size of pixels or image"
            raise InputError(
                f"{odd}: expected the {what} of {next(iter(main[1])).name}, found another one in one series "
                f"({len(main[1])} and {len(group)} slices)"
            )
        beside += group
    return main[1], beside


def _is_beside(header: pydicom.Dataset) -> bool:
    """Whether an image is a scout, a page or a picture by what its header says."""
    kind = {str(part).upper() for part in header.get("ImageType") or []}
    if "LOCALIZER" in kind or number_of(header, "SamplesPerPixel", 1) != 1:
        return True
    if all(header.get(keyword) for keyword in PLANE):
        return False
    pages = SECONDARY_CAPTURE in str(header.get("SOPClassUID", ""))
    return pages or bool(kind & set(BESIDE)) or not kind & {"ORIGINAL", "PRIMARY", "AXIAL"}


def _without_copies(slices: Headers, notes: list[str]) -> dict[Path, pydicom.Dataset]:
    """Each image once: the same instance, or the same pixels at the same position, is a copy."""
    kept: dict[Path, pydicom.Dataset] = {}
    at: dict[tuple[float, ...], list[Path]] = {}
    copies: list[Path] = []
    for file, header in slices.items():
        position = tuple(np.round(np.array(header.ImagePositionPatient, dtype=float), 2).tolist())
        if any(_is_copy(file, header, other, slices[other]) for other in at.get(position, [])):
            copies.append(file)
            continue
        at.setdefault(position, []).append(file)
        kept[file] = header
    if copies:
        notes.append(
            f"{_count(len(copies), 'image')} of the series {_is(len(copies))} there twice, and "
            f"{_was(len(copies))} taken once: {_names(copies)}."
        )
    return kept


def _is_copy(file: Path, header: pydicom.Dataset, other: Path, second: pydicom.Dataset) -> bool:
    if file_of(file) == file_of(other):  # frames of one file
        return False
    if _pixels(file) == _pixels(other):
        return True
    # the same image may be stored twice, compressed and not
    same = bool(header.get("SOPInstanceUID")) and header.SOPInstanceUID == second.get("SOPInstanceUID")
    return same and _pixels(file, True) == _pixels(other, True)


def _pixels(file: Path, decoded: bool = False) -> bytes:
    """Digest of the pixels as they are stored, or of their values."""
    image = read_dicom(file)
    try:
        content = image.pixel_array.astype("<i4").tobytes() if decoded else image.get("PixelData", b"")
    except Exception:  # each decoder raises its own
        content = str(file).encode()
    return hashlib.sha256(content).digest()


def _one_pass(slices: Headers, notes: list[str]) -> dict[Path, pydicom.Dataset]:
    """One acquisition where several cover the same head; those that follow one another stay together."""
    if _is_one_stack(slices):
        return dict(slices)
    for word, groups in _divisions(slices):
        if not 1 < len(groups) <= len(slices) / 2 or not _overlap(groups):
            continue
        if min(map(len, groups)) < 3 and word in ("order", "folder", "places"):  # a stray image, no pass
            continue
        groups.sort(key=lambda group: (-len(group), -round(float(np.ptp(_heights(group))))))
        passes = 1 + sum(_overlap([groups[0], other]) for other in groups[1:])
        if passes > MOST_PASSES:
            raise InputError(
                f"{next(iter(slices))}: expected one scan of a head, found {passes} acquisitions of "
                "the same place in one series: a perfusion study?"
            )
        kept = dict(groups[0])
        for other in groups[1:]:
            kept |= _outside(other, kept)
        notes.append(
            f"The series holds {len(groups)} acquisitions of the same head, told apart by their {word}: "
            f"{len(kept)} of {len(slices)} slices were taken, so that each place is there once."
        )
        slices = kept
        break
    heights = sorted((_height(header), file) for file, header in slices.items())
    for (low, a), (high, b) in pairwise(heights):
        if high - low < SAME_MM:
            raise InputError(
                f"{b}: expected each slice once, found another image at the position of {a.name}: several "
                "scans in one series"
            )
    return dict(slices)


def _is_one_stack(slices: Headers) -> bool:
    """Whether slices lie beside each other as far apart as they are thick, whatever their headers say."""
    steps = np.diff(sorted(_heights(slices)))
    if len(steps) < 1 or steps.min() < SAME_MM:
        return False
    thick = float(np.median([number_of(header, "SliceThickness") for header in slices.values()]))
    return bool(steps.min() >= 0.8 * thick if thick > 0 else steps.max() <= 1.1 * steps.min())


def _divisions(slices: Headers) -> Iterator[tuple[str, list[dict[Path, pydicom.Dataset]]]]:
    """What tells passes over the same head apart, and the slices of each: tags, order, folders, places."""
    for keyword in ("AcquisitionNumber", "AcquisitionUID", "AcquisitionTime", "TemporalPositionIdentifier"):
        if all(header.get(keyword) not in (None, "") for header in slices.values()):
            yield keyword, _grouped(slices, {file: str(h.get(keyword)) for file, h in slices.items()})
    order = {file: number_of(header, "InstanceNumber") for file, header in slices.items()}
    if len(set(order.values())) == len(slices):
        files = sorted(slices, key=lambda file: order[file])
        steps = np.diff([_height(slices[file]) for file in files])
        back = np.sign(steps) != np.sign(np.median(steps))
        runs = np.concatenate([[0], np.cumsum(back)])
        if runs[-1] < MOST_PASSES + 3:  # else they are in no order
            yield "order", _grouped(slices, dict(zip(files, runs.tolist(), strict=True)))
    yield "folder", _grouped(slices, {file: file.parent for file in slices})
    files = sorted(slices, key=lambda file: _height(slices[file]))
    heights = np.array([_height(slices[file]) for file in files])
    if len(heights) >= 6 and (step := float(np.median(heights[2:] - heights[:-2]))) > SAME_MM:
        phase = ((heights - heights[0]) / step + 0.05) % 1
        first = phase < 0.1
        rest = phase[~first]
        if len(rest) and np.ptp(rest) < 0.1 and abs(float(np.median(rest)) - 0.55) > 0.05:
            yield "places", _grouped(slices, dict(zip(files, first.tolist(), strict=True)))


def _grouped(slices: Headers, by: Mapping[Path, object]) -> list[dict[Path, pydicom.Dataset]]:
    groups: dict[object, dict[Path, pydicom.Dataset]] = {}
    for file, header in slices.items():
        groups.setdefault(by[file], {})[file] = header
    return list(groups.values())


def _outside(group: Headers, kept: Headers) -> dict[Path, pydicom.Dataset]:
    """The slices that go on where others end; none of a pass that lies mostly within them."""
    heights, own = _heights(kept), sorted(_heights(group))
    margin = 0.3 * float(np.median(np.diff(own))) if len(own) > 1 else SAME_MM
    low, high = min(heights) - margin, max(heights) + margin
    outside = {file: header for file, header in group.items() if not low <= _height(header) <= high}
    return outside if 2 * len(outside) >= len(group) else {}


def _overlap(groups: Sequence[Headers]) -> bool:
    """Whether the places of any two groups of slices meet."""
    spans = sorted((min(heights), max(heights)) for heights in map(_heights, groups))
    return any(low < high + SAME_MM for (_, high), (low, _) in pairwise(spans))


def _check_rescale(slices: Headers) -> None:
    """Refuse a series of which only some slices say how stored values become HU."""
    for keyword in ("RescaleIntercept", "RescaleSlope"):
        stated = {file: header.get(keyword) not in (None, "") for file, header in slices.items()}
        if any(stated.values()) and not all(stated.values()):
            odd = next(file for file, there in stated.items() if not there)
            missing = sum(not there for there in stated.values())
            raise InputError(
                f"{odd}: expected {keyword} as in the other slices of its series, found none: "
                f"{_count(missing, 'slice')} would have wrong HU"
            )


def _check_steps(slices: list[tuple[Path, pydicom.Dataset]], allow_gaps: bool, advice: str) -> list[str]:
    """Refuse missing slices; sentences about them if they are allowed."""
    steps = np.diff([_height(header) for _, header in slices])
    if len(steps) < 2:
        return []
    thickness = np.array([number_of(header, "SliceThickness") for _, header in slices])
    beside = np.maximum(thickness[:-1], thickness[1:])
    wide = np.array([_is_gap(steps, i, float(beside[i])) for i in range(len(steps))])
    if not wide.any():
        return []
    first = int(np.flatnonzero(wide)[0])
    near = [_nearest(steps, wide, i) for i in range(len(steps))]
    missing = int(sum(max(1, round(steps[i] / near[i]) - 1) for i in np.flatnonzero(wide)))
    a, b = slices[first][0], slices[first + 1][0]
    lacking = f"{_count(missing, 'slice')} of the series {_is(missing)} missing"
    if not allow_gaps:
        raise InputError(
            f"{b}: expected it {near[first]:.1f} mm from {a.name} as slices are beside them, found "
            f"{steps[first]:.1f} mm: {lacking}{advice}"
        )
    return [f"{lacking}; the gaps were filled by interpolation, and volumes there are guesses."]


def _is_gap(steps: np.ndarray, i: int, thickness: float) -> bool:
    """Whether slices are missing in a step: wider than those beside it, and than the slices are thick.

    A zone of wider steps up to an end of the scan is how some scanners work. Without a thickness, a zone
    that narrower steps follow on both sides is a gap.
    """
    step, narrow = float(steps[i]), steps * GAP < steps[i]
    alone = all(narrow[j] for j in (i - 1, i + 1) if 0 <= j < len(steps))
    if thickness > 0:
        return (alone and step > 1.1 * thickness) or (step > GAP * thickness and bool(narrow.any()))
    return alone or bool(narrow[:i].any() and narrow[i + 1 :].any())


def _nearest(steps: np.ndarray, wide: np.ndarray, i: int) -> float:
    """The closest usual step beside a wide one; the wider of two that are as close."""
    usual = np.flatnonzero(~wide)
    away = np.abs(usual - i)
    return float(max(steps[usual[away == away.min()]]))


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")


def _is(n: int) -> str:
    return "is" if n == 1 else "are"


def _was(n: int) -> str:
    return "was" if n == 1 else "were"


def _names(files: list[Path]) -> str:
    return listed((file.name for file in files), 3, ", ")
