"""One DICOM file read, once it is known what that takes; of an enhanced one, a plain header per slice.

Enhanced DICOM keeps many slices in one file. What a classic file says of its slice at the top level
(position, orientation, pixel spacing, kernel) lies there in functional groups, shared by all frames or of
each frame (DICOM PS3.3, C.7.6.16 and C.8.15.3).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tools.core.extras import extra_packages
from tools.core.limits import check_file, check_growth, check_size

with extra_packages("reading DICOM"):
    import pydicom
    from pydicom import Dataset
    from pydicom.filereader import read_dataset
    from pydicom.uid import DeflatedExplicitVRLittleEndian

SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
STORED = "bytes_of_pixels"  # attribute of a header read from a file: how many of its bytes follow it
GROUPS = (
    "PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence", "CTGeometrySequence",
    "CTAcquisitionDetailsSequence", "CTReconstructionSequence", "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
)  # fmt: skip


def numbers_of(header: Dataset, keyword: str) -> list[float]:
    """The numbers of an attribute; none where it is missing, or where one of them is no finite number.

    Scanners and archives write decimal commas, words and zero bytes into attributes of numbers.
    """
    try:
        value = header.get(keyword)  # pydicom makes some of them numbers here
        several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
        numbers = [float(each) for each in (value if several else [value])]
    except (TypeError, ValueError, OverflowError):
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def number_of(header: Dataset, keyword: str, otherwise: float = 0.0) -> float:
    """The number of an attribute, or `otherwise` where there is not one."""
    numbers = numbers_of(header, keyword)
    return numbers[0] if len(numbers) == 1 else otherwise


def number_of_frames(header: Dataset) -> int:
    """How many images the file holds: 1 where it does not say so."""
    return int(number_of(header, "NumberOfFrames")) or 1


def read_dicom(file: Path, **options: Any) -> Dataset:
    """`pydicom.dcmread`, which also takes files without the preamble of part 10.

    Args:
        file: any file.
        options: of `dcmread`, such as `stop_before_pixels`.

    Raises:
        InputError: a pipe or a device, or one that takes more memory than a file may: by its size, by what it
            unpacks to (the deflated transfer syntax packs the header too), or by the pixels it promises.
        Exception: whatever pydicom raises on a damaged file.
    """
    check_dicom_size(file)
    image = pydicom.dcmread(file, force=True, **options)
    if not options.get("stop_before_pixels"):
        rows, columns = (int(number_of(image, keyword)) for keyword in ("Rows", "Columns"))
        each = int(number_of(image, "BitsAllocated")) or 16
        check_size(number_of_frames(image) * rows * columns * (each // 8 + 4), file)
    return image


def check_dicom_size(file: Path) -> None:
    """Refuse a file whose header alone would take more memory than a file may.

    Raises:
        InputError: it does, or it is a pipe or a device.
    """
    check_file(file)
    check_size(file.stat().st_size, file)
    _check_deflated(file)


def _check_deflated(file: Path) -> None:
    """Count what a deflated file unpacks to, without keeping it: pydicom unpacks all of it for any tag."""
    with file.open("rb") as stream:
        stream.seek(132 if stream.read(132)[128:] == b"DICM" else 0)
        meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        unpacker, size, packed = zlib.decompressobj(-zlib.MAX_WBITS), 0, stream.read()
        rest = packed
        while rest and not unpacker.eof:
            size += len(unpacker.decompress(rest, 2**22))
            rest = unpacker.unconsumed_tail
            check_growth(size, len(packed), file)
            check_size(size, file)


def is_multi_frame(header: Dataset) -> bool:
    """Whether the file holds several images."""
    return number_of_frames(header) > 1


def frame_headers(header: Dataset) -> list[Dataset]:
    """What each frame of an enhanced image says of itself, at the top level as in a classic file.

    Args:
        header: of the file, without pixels or with them; they are left out.

    Returns:
        one header per frame, in the order of the pixels; none if the file does not describe its frames.
    """
    frames = list(header.get(PER_FRAME) or [])
    if len(frames) != number_of_frames(header):
        return []
    common = Dataset()
    common.update({e.tag: e for e in header if e.keyword not in (SHARED, PER_FRAME, "PixelData")})
    if agent := header.get("ContrastBolusAgentSequence"):
        common.ContrastBolusAgent = str(agent[0].get("CodeMeaning", "")) or "not named"
    for groups in header.get(SHARED) or []:
        _lift(groups, common)
    headers = []
    for groups in frames:
        frame = Dataset()
        frame.update(common)
        setattr(frame, STORED, getattr(header, STORED, None))
        _lift(groups, frame)
        headers.append(frame)
    return headers


def slice_headers(file: Path, header: Dataset) -> dict[Path, Dataset]:
    """The header of every slice of a file by the slice's name: the file, or `FILE/frame N` of several."""
    if not is_multi_frame(header):
        return {file: header}
    return {file / f"frame {i}": frame for i, frame in enumerate(frame_headers(header), start=1)}


def file_of(name: Path) -> Path:
    """The file that holds the slice of this name, see `slice_headers`."""
    return name.parent if name.parent.is_file() else name


def _lift(groups: Dataset, to: Dataset) -> None:
    """Copy what functional groups state to the top level."""
    for keyword in GROUPS:
        for item in groups.get(keyword) or []:
            to.update(item)
    for anatomy in groups.get("FrameAnatomySequence") or []:
        for region in anatomy.get("AnatomicRegionSequence") or []:
            to.BodyPartExamined = str(region.get("CodeMeaning", "")).upper()
