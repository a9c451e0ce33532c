"""One DICOM file read, once it is known what that takes."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from tools.core.extras import extra_packages
from tools.core.limits import check_file, check_growth, check_size

with extra_packages("reading DICOM"):
    import pydicom
    from pydicom.filereader import read_dataset
    from pydicom.uid import DeflatedExplicitVRLittleEndian

__all__ = ["check_dicom_size", "read_dicom"]


def read_dicom(file: Path, **options: Any) -> pydicom.Dataset:
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
        frames = int(image.get("NumberOfFrames", 1) or 1)
        values = frames * int(image.get("Rows", 0) or 0) * int(image.get("Columns", 0) or 0)
        check_size(values * (int(image.get("BitsAllocated", 16) or 16) // 8 + 4), file)
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
