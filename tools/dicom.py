"""A folder of DICOM files -> one NIfTI file: choose the series, check its files, convert with dcm2niix."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel as nib
import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from tools.enhanced_dicom import slice_headers
from tools.errors import InputError
from tools.straighten import is_straight, straighten

__all__ = ["Series", "convert_files", "convert_series", "list_series", "select_series"]

# dcm2niix writes several volumes where it corrects something; the later the name, the more was corrected. Its
# corrections are used only where the files do not say where the slices lie, see tools.straighten.
CORRECTED_SUFFIXES = ("", "_Eq", "_Tilt", "_Tilt_Eq")


@dataclass
class Series:
    """One DICOM series: its identity as the scanner wrote it, and its files."""

    uid: str
    number: str
    description: str
    modality: str
    files: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        text = self.description or "no description"
        return f"number {self.number} ({text}, {self.modality}, {len(self.files)} files, UID {self.uid})"


def list_series(folder: str | Path) -> list[Series]:
    """All image series in `folder` and its subfolders, in the order of their series numbers.

    Files that are not DICOM, and DICOM files without an image, are passed over.

    Raises:
        InputError: there is no DICOM image in the folder.
    """
    found: dict[str, Series] = {}
    for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True)
        except (InvalidDicomError, OSError, EOFError):
            continue
        if "Rows" not in header or "SeriesInstanceUID" not in header:
            continue
        uid = str(header.SeriesInstanceUID)
        number, description = str(header.get("SeriesNumber", "?")), str(header.get("SeriesDescription", ""))
        series = found.setdefault(uid, Series(uid, number, description, str(header.get("Modality", "?"))))
        series.files.append(file)
    if not found:
        raise InputError(f"{folder}: expected DICOM images, found none")
    return sorted(found.values(), key=lambda series: (series.number.zfill(8), series.uid))


def select_series(folder: str | Path, series: str | int | None = None) -> Series:
    """The CT series of `folder`; `series` (its number or UID) chooses where there are several.

    Raises:
        InputError: no such series, several series and no choice, or a modality other than CT.
    """
    available = list_series(folder)
    chosen = [s for s in available if series is None or str(series) in (s.uid, s.number)]
    listing = "; ".join(str(s) for s in available)
    if not chosen:
        raise InputError(f"{folder}: expected a series with number or UID {series}, found: {listing}")
    if len(chosen) > 1:
        raise InputError(
            f"{folder}: expected one DICOM series, found {len(chosen)}: {listing}; "
            "choose one by its number or UID with the option `series`"
        )
    if chosen[0].modality != "CT":
        raise InputError(f"{folder}: expected modality CT, found {chosen[0].modality}")
    return chosen[0]


def _checked_positions(file: Path) -> list[np.ndarray | None]:
    """Where the first pixel of each image of a file lies, RAS+ mm, or None where that is not stated.

    Raises:
        InputError: an uncompressed file holds fewer pixels than its header promises.
    """
    try:
        image = pydicom.dcmread(file)
        stored = len(image.PixelData)
        corners = [_corner(header) for header in slice_headers(file, image).values()]
    except Exception as error:
        raise InputError(f"{file}: expected a complete DICOM image, found {error}") from error
    if not image.file_meta.TransferSyntaxUID.is_compressed:
        frames = int(image.get("NumberOfFrames", 1) or 1)
        values = frames * image.Rows * image.Columns * image.get("SamplesPerPixel", 1)
        expected = values * image.BitsAllocated // 8
        if stored < expected:
            raise InputError(
                f"{file}: expected {expected} bytes of pixels, found {stored}: the file is truncated"
            )
    return corners or [None]


def _corner(image: pydicom.Dataset) -> np.ndarray | None:
    """The corner that dcm2niix makes the first voxel: that of the last row."""
    keywords = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    if not all(image.get(keyword) for keyword in keywords):
        return None
    position, axes, spacing = (np.array(image.get(keyword), dtype=float) for keyword in keywords)
    return (position + (int(image.Rows) - 1) * spacing[0] * axes[3:]) * (-1, -1, 1)


@contextmanager
def convert_series(folder: str | Path, series: str | int | None = None) -> Iterator[Path]:
    """Convert one CT series with dcm2niix; gantry tilt and uneven slice distances are corrected.

    Yields:
        path of an uncompressed NIfTI file in a temporary folder, which is removed on leaving the context.

    Raises:
        InputError: see `select_series`; also for truncated files and series that dcm2niix cannot convert.
    """
    with convert_files(select_series(folder, series), folder) as nifti:
        yield nifti


@contextmanager
def convert_files(chosen: Series, name: str | Path, work_dir: str | Path | None = None) -> Iterator[Path]:
    """`convert_series` of a series that has been chosen.

    Args:
        chosen: its `files` are converted.
        name: of the series, for messages.
        work_dir: existing folder to make the temporary one in; None takes the system's.
    """
    corners = [corner for file in chosen.files for corner in _checked_positions(file)]
    with tempfile.TemporaryDirectory(prefix="hemorrhage_ct_", dir=work_dir) as temporary:
        source, target = Path(temporary, "dicom"), Path(temporary, "nifti")
        source.mkdir()
        target.mkdir()
        for index, file in enumerate(chosen.files):
            (source / f"{index:05d}.dcm").symlink_to(file.resolve())
        options = ["-l", "n", "-z", "n", "-b", "n", "-f", "volume"]
        command = [dcm2niix.bin, *options, "-o", str(target), str(source)]
        run = subprocess.run(command, capture_output=True, text=True)
        volumes = {file.stem: file for file in target.glob("*.nii")}
        corrected = [file for file in volumes.values() if _correction(file) is not None]
        if not corrected:
            last = (run.stdout + run.stderr).strip().splitlines()[-1:] or ["no message"]
            raise InputError(f"{name}: expected a CT volume, but dcm2niix converted none: {last[0]}")
        originals = [file for file in corrected if _correction(file) == 0]
        if len(originals) > 1:
            raise InputError(
                f"{name}: expected one volume in series {chosen.number}, found {len(originals)} "
                "(slices of different size, position or orientation)"
            )
        if originals and all(corner is not None for corner in corners):
            yield _straightened(originals[0], np.array(corners), name)
        else:
            yield max(corrected, key=lambda file: _correction(file) or 0)


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
    result = nib.Nifti1Image(volume, straight)
    result.header.set_xyzt_units("mm")
    result.set_sform(straight, code=1)
    result.set_qform(straight, code=1)
    path = nifti.with_name("straight.nii")
    nib.save(result, path)
    return path


def _correction(file: Path) -> int | None:
    """How much dcm2niix corrected in this file, from its name; None for files that are no main volume."""
    name = file.stem.removeprefix("volume")
    if name.endswith("_1") and "Eq" in name:  # dcm2niix numbers the files it resampled
        name = name.removesuffix("_1")
    if name in CORRECTED_SUFFIXES:
        return CORRECTED_SUFFIXES.index(name)
    return 0 if not any(word in name for word in ("_Eq", "_Tilt", "ROI")) else None
