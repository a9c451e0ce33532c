"""A folder of DICOM files -> one NIfTI file: choose the series, check its files, convert with dcm2niix."""

from __future__ import annotations

import logging
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tools.core.errors import InputError
from tools.core.extras import extra_packages
from tools.core.files import begins_as_dicom, existing, input_files, nifti_image, nothing_in
from tools.core.names import listed
from tools.volumes.dicom_file import (
    STORED,
    check_dicom_size,
    file_of,
    is_multi_frame,
    number_of,
    number_of_frames,
    numbers_of,
    slice_headers,
)
from tools.volumes.plain_dicom import write_plain_copies
from tools.volumes.stack import corner_of, stack_slices
from tools.volumes.straighten import is_straight, straighten

with extra_packages("reading DICOM"):
    import dcm2niix
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian

logger = logging.getLogger(__name__)

UNNAMED = "unnamed"  # begins the key of a series that has no UID

# dcm2niix writes several volumes where it corrects something; the later the name, the more was corrected. Its
# corrections are used only where the files do not say where the slices lie, see tools.volumes.straighten.
CORRECTED_SUFFIXES = ("", "_Eq", "_Tilt", "_Tilt_Eq")

#: What a file is whose first bytes are these.
KINDS = {
    b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"GIF8": "a GIF picture",
    b"BM": "a BMP picture", b"II*\0": "a TIFF picture", b"MM\0*": "a TIFF picture",
    b"%PDF": "a PDF document", b"PK\3\4": "a zip",
    b"\x1f\x8b": "a gzipped file", b"7z\xbc\xaf": "a 7z archive", b"Rar!": "a RAR archive",
    b"\x5c\1\0\0": "a NIfTI file", b"\0\0\1\x5c": "a NIfTI file", b"NRRD": "an NRRD file",
    b"ObjectType": "a MetaImage file",
}  # fmt: skip


@dataclass
class Series:
    """One DICOM series: its identity as the scanner wrote it, and the headers of its files.

    As text it leaves out the description, into which people write names.
    """

    uid: str
    number: str
    description: str
    modality: str
    headers: dict[Path, pydicom.Dataset] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        """Its files, in the order in which they were found."""
        return list(self.headers)

    def __str__(self) -> str:
        uid = "" if self.uid.startswith(UNNAMED) else f", UID {self.uid}"
        return f"number {self.number} ({self.modality}, {len(self.files)} files{uid})"

    def is_called(self, choice: str | int) -> bool:
        """Whether a user who gave this number or UID means this series."""
        return str(choice) in (self.uid, self.number)


def read_header(file: Path, tags: list[str] | None = None) -> tuple[pydicom.Dataset | None, str]:
    """The attributes of a DICOM image without its pixels, or None and what the file is instead.

    Files without the preamble of part 10 are read too, if they begin as data sets do.

    Args:
        file: any file.
        tags: keywords to read; None reads all.

    Raises:
        PermissionError: it may not be read.
    """
    if file.stat().st_size == 0:
        return None, "an empty file"
    with file.open("rb") as stream:
        start = stream.read(132)
    if not begins_as_dicom(start):
        return None, _kind(start)
    try:
        check_dicom_size(file)
        with file.open("rb") as stream:
            header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=tags, force=True)
            # a long tag, type and length come before the pixels
            begin = stream.tell() + (8 if header.original_encoding[0] else 12)
        header.get("Rows")
    except PermissionError:
        raise
    except InputError as error:
        return None, str(error).partition(", found ")[2]
    except Exception as error:  # pydicom raises many kinds on damaged files
        return None, f"a damaged DICOM file ({type(error).__name__})"
    if "Rows" not in header:
        return None, "a DICOM file without an image"
    # kept beside the attributes, so that nobody has to read the file again to know that it is complete
    setattr(header, STORED, file.stat().st_size - begin)
    return header, ""


def _kind(start: bytes) -> str:
    """What a file is that begins like this."""
    for magic, kind in KINDS.items():
        if start.startswith(magic):
            return kind
    if not start.strip(b"\0"):
        return "a file of zeros"
    return "a file of text" if start.isascii() and b"\0" not in start else "a binary file that is no DICOM"


def series_of(headers: Mapping[Path, pydicom.Dataset]) -> list[Series]:
    """The series that files belong to, in the order of their series numbers.

    Files that name no series belong to the one of their folder that is like them in plane, size and kernel,
    and else together. Files that have a series of their own each, as some archives write them, belong
    together where three or more are alike.

    Raises:
        InputError: one holds images of two patients.
    """
    uids = {
        file: str(header.get("SeriesInstanceUID", "") or "") or f"{UNNAMED} in {file.parent}"
        for file, header in headers.items()
    }
    counts = Counter(uids.values())
    single = [file for file, uid in uids.items() if counts[uid] == 1 and not is_multi_frame(headers[file])]
    alike: dict[tuple[Any, ...], list[Path]] = {}
    for file in single:
        alike.setdefault(_likeness(headers[file]), []).append(file)
    for files in alike.values():
        if len(files) > 2:
            uids |= dict.fromkeys(files, uids[files[0]])
    named: dict[tuple[Any, ...], set[str]] = {}
    unnamed = [file for file, uid in uids.items() if uid.startswith(UNNAMED)]
    for file in (set(uids) - set(unnamed)) if unnamed else ():
        named.setdefault((file.parent, *_likeness(headers[file])), set()).add(uids[file])
    for file in unnamed:
        like = named.get((file.parent, *_likeness(headers[file])), set())
        uids[file] = next(iter(like)) if len(like) == 1 else uids[file]
    found: dict[str, Series] = {}
    for file, header in headers.items():
        number, description = str(header.get("SeriesNumber", "?")), str(header.get("SeriesDescription", ""))
        modality = str(header.get("Modality", "?"))
        found.setdefault(uids[file], Series(uids[file], number, description, modality)).headers[file] = header
    for series in found.values():
        check_one_patient(series.headers)
    return sorted(found.values(), key=lambda series: (series.number.zfill(8), series.uid))


def check_one_patient(headers: Mapping[Path, pydicom.Dataset]) -> None:
    """Raise `InputError` where images of one study or series have different PatientIDs."""
    patients: dict[str, Path] = {}
    for file, header in headers.items():
        if patient := str(header.get("PatientID", "") or "").strip():
            patients.setdefault(patient, file)
    if len(patients) > 1:
        one, other, *_ = patients.values()
        raise InputError(
            f"{other}: expected the PatientID of {one}, which is of the same study, found another: images of "
            f"{len(patients)} patients"
        )


def _likeness(header: pydicom.Dataset) -> tuple[Any, ...]:
    """What slices of one series have in common."""
    axes = [round(v, 2) + 0.0 for v in numbers_of(header, "ImageOrientationPatient")]
    keywords = ("PatientID", "Rows", "Columns", "PixelSpacing", "ConvolutionKernel", "ContrastBolusAgent")
    return (*axes, *(str(header.get(keyword, "")) for keyword in keywords))


def list_series(folder: str | Path) -> list[Series]:
    """All image series in `folder` and its subfolders, in the order of their series numbers.

    Files that are not DICOM, and DICOM files without an image, are passed over.

    Raises:
        InputError: there is no DICOM image in the folder, or a link leads nowhere.
        OSError: a file may not be read.
    """
    headers: dict[Path, pydicom.Dataset] = {}
    for file in existing(input_files(folder)):
        header, _ = read_header(file)
        if header is not None:
            headers[file] = header
    if not headers:
        raise InputError(f"{folder}: expected DICOM images, found {nothing_in(folder)}")
    return series_of(headers)


def dicom_folders(path: Path) -> dict[Path, pydicom.Dataset]:
    """The folders at a path that hold DICOM images, each with the header of one: `path` alone, if it does.

    Raises:
        InputError: there is no DICOM image in any.
    """
    found: dict[Path, pydicom.Dataset] = {}
    for series in list_series(path):
        for file, header in series.headers.items():
            found.setdefault(file.parent, header)
    return {path: found[path]} if path in found else dict(sorted(found.items()))


def select_series(folder: str | Path, series: str | int | None = None) -> Series:
    """The CT series of `folder`; `series` (its number or UID) chooses where there are several.

    Raises:
        InputError: no such series, several series and no choice, or a modality other than CT.
    """
    available = list_series(folder)
    chosen = [s for s in available if series is None or s.is_called(series)]
    listing = listed(available)
    if not chosen:
        raise InputError(f"{folder}: expected a series with number or UID {series}, found: {listing}")
    if len(chosen) > 1:
        raise InputError(
            f"{folder}: expected one DICOM series, found {len(chosen)}: {listing}; "
            "give a folder of one series, or let `headct predict` choose"
        )
    if chosen[0].modality != "CT":
        raise InputError(f"{folder}: expected modality CT, found {chosen[0].modality}")
    return chosen[0]


def _check_pixels(file: Path, header: pydicom.Dataset) -> None:
    """Refuse an uncompressed file that holds fewer pixels than its header promises.

    Raises:
        InputError: it does.
    """
    syntax = getattr(header, "file_meta", {}).get("TransferSyntaxUID", ExplicitVRLittleEndian)
    if syntax.is_compressed or syntax.is_deflated:
        return
    values = number_of_frames(header) * header.Rows * header.Columns
    values *= int(number_of(header, "SamplesPerPixel")) or 1
    expected = values * (int(number_of(header, "BitsAllocated")) or 16) // 8
    stored = getattr(header, STORED, None)
    if stored is not None and stored < expected:
        raise InputError(
            f"{file}: expected {expected} bytes of pixels, found {stored}: the file is truncated"
        )


@contextmanager
def convert_series(
    folder: str | Path, series: str | int | None = None, name: str | Path | None = None
) -> Iterator[Path]:
    """Convert one CT series with dcm2niix; gantry tilt and uneven slice distances are corrected.

    The log calls the folder `name`, or by its path.

    Yields:
        path of an uncompressed NIfTI file in a temporary folder, which is removed on leaving the context.

    Raises:
        InputError: see `select_series`; also for truncated files and series that dcm2niix cannot convert.
    """
    chosen = select_series(folder, series)
    slices: dict[Path, pydicom.Dataset] = {}
    for file, header in chosen.headers.items():
        slices |= slice_headers(file, header) or {file: header}
    if any(corner_of(header) is not None for header in slices.values()):
        slices, notes = stack_slices(slices)
        for note in notes:
            logger.warning("%s: %s", name or folder, note)
    with convert_files(slices, folder) as nifti:
        yield nifti


@contextmanager
def convert_files(
    slices: Mapping[Path, pydicom.Dataset], name: str | Path, work_dir: str | Path | None = None
) -> Iterator[Path]:
    """One volume of slices that belong together, see `tools.volumes.stack.stack_slices`.

    dcm2niix is given the files as they are; where it makes no volume of them or several (attributes that
    differ between slices, a transfer syntax that it does not know), it is given plain copies.

    Args:
        slices: header of each slice by its name, see `tools.volumes.dicom_file.slice_headers`.
        name: of the series, for messages.
        work_dir: existing folder to make the temporary one in; None takes the system's.
    """
    files = list(dict.fromkeys(file_of(name) for name in slices))
    for slice_name, header in slices.items():
        _check_pixels(file_of(slice_name), header)
    corners = [corner_of(header) for header in slices.values()]
    with tempfile.TemporaryDirectory(prefix="hemorrhage_ct_", dir=work_dir) as temporary:
        source = Path(temporary, "dicom")
        source.mkdir()
        volumes: list[Path] = []
        if _scales_alike(slices.values()):
            for index, file in enumerate(files):
                (source / f"{index:05d}.dcm").symlink_to(file.resolve())
            volumes, message = _dcm2niix(source, Path(temporary, "nifti"))
        if _ambiguous(volumes, len(slices)) and not any(is_multi_frame(header) for header in slices.values()):
            plain = Path(temporary, "plain")
            write_plain_copies(files, plain)
            volumes, message = _dcm2niix(plain, Path(temporary, "nifti_plain"))
        if not volumes:
            raise InputError(f"{name}: expected a CT volume, but dcm2niix converted none: {message}")
        originals = [file for file in volumes if _correction(file) == 0]
        if len(originals) > 1:
            raise InputError(f"{name}: expected one volume, found {len(originals)} that dcm2niix cannot join")
        if originals and all(corner is not None for corner in corners):
            yield _straightened(originals[0], np.array(corners), name)
        else:
            yield max(volumes, key=lambda file: _correction(file) or 0)


def _ambiguous(volumes: list[Path], count: int) -> bool:
    """Whether `count` slices did not become one volume."""
    images: list[Any] = [nib.load(file) for file in volumes if _correction(file) == 0]
    return not volumes or len(images) > 1 or any(image.shape[-1] != count for image in images)


def _scales_alike(headers: Iterable[pydicom.Dataset]) -> bool:
    """Whether stored values become HU the same way in all slices."""
    keywords = ("RescaleIntercept", "RescaleSlope", "PixelRepresentation", "BitsStored")
    return len({tuple(str(header.get(keyword)) for keyword in keywords) for header in headers}) == 1


def _dcm2niix(source: Path, target: Path) -> tuple[list[Path], str]:
    """The main volumes that dcm2niix makes of a folder, corrected or not, and the last line it says."""
    target.mkdir()
    options = ["-l", "n", "-z", "n", "-b", "n", "-f", "volume"]
    run = subprocess.run(
        [dcm2niix.bin, *options, "-o", str(target), str(source)], capture_output=True, text=True
    )
    last = (run.stdout + run.stderr).strip().splitlines()[-1:] or ["no message"]
    return [file for file in target.glob("*.nii") if _correction(file) is not None], last[0]


def _straightened(nifti: Path, corners: np.ndarray, name: str | Path) -> Path:
    """The stack of slices that dcm2niix wrote, made straight and even by the slices' own positions.

    Raises:
        InputError: its slices are not those of the files.
    """
    image: Any = nib.load(nifti)
    affine = np.asarray(image.affine, dtype=float)
    along = corners @ np.cross(affine[:3, 0], affine[:3, 1])
    order = np.argsort(along)
    first = [np.linalg.norm(corners[i] - affine[:3, 3]) for i in (order[0], order[-1])]
    if len(image.shape) != 3 or image.shape[2] != len(corners) or min(first) > 1:
        raise InputError(
            f"{name}: expected one volume of {len(corners)} slices, found shape {image.shape} that starts "
            f"{min(first):.1f} mm from them"
        )
    positions = corners[order if first[0] <= first[1] else order[::-1]]
    if is_straight(affine, positions):
        return nifti
    slices = np.asarray(image.dataobj)
    if slices.dtype == np.float64:  # where the rescale slope is no whole number
        slices = slices.astype(np.float32)
    volume, straight = straighten(slices, affine, positions)
    path = nifti.with_name("straight.nii")
    nib.save(nifti_image(volume, straight), path)
    return path


def _correction(file: Path) -> int | None:
    """How much dcm2niix corrected in this file, from its name; None for files that are no main volume."""
    name = file.stem.removeprefix("volume")
    if name.endswith("_1") and "Eq" in name:  # dcm2niix numbers the files it resampled
        name = name.removesuffix("_1")
    if name in CORRECTED_SUFFIXES:
        return CORRECTED_SUFFIXES.index(name)
    return 0 if not any(word in name for word in ("_Eq", "_Tilt", "ROI")) else None
