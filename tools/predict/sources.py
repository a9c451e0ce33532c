"""What there is to predict at a path: NIfTI files, DICOM studies, zips of either."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from tools.errors import InputError

__all__ = ["Source", "Study", "case_names", "find_sources"]

NIFTI = (".nii", ".nii.gz")
DICOM = (".dcm", ".ima", ".dicom")
# All that is asked of a DICOM file before its pixels are read
TAGS = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "SeriesNumber", "SeriesDescription", "StudyDescription", "ProtocolName", "BodyPartExamined", "Modality",
    "ImageType", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "PixelSpacing", "SliceThickness",
    "ImagePositionPatient", "ImageOrientationPatient", "GantryDetectorTilt", "ContrastBolusAgent",
    "ConvolutionKernel", "InstanceNumber", "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "AccessionNumber", "StudyDate", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "ContrastBolusAgentSequence",
]  # fmt: skip


@dataclass
class Study:
    """The DICOM images of one study: `headers` without pixels by file, and files that could not be read."""

    uid: str
    headers: dict[Path, pydicom.Dataset] = field(default_factory=dict)
    broken: dict[Path, str] = field(default_factory=dict)


@dataclass
class Source:
    """One input: a NIfTI file, a zip, or the study of a DICOM folder.

    Attributes:
        path: as the user knows it, for messages.
        name: of the case, before names are made unique.
        study: None for files.
    """

    path: Path
    name: str
    study: Study | None = None

    @property
    def is_zip(self) -> bool:
        """Whether it must be unpacked before it is known what is in it."""
        return self.study is None and self.path.suffix.lower() == ".zip"


def find_sources(path: str | Path, skip: Path | None = None) -> list[Source]:
    """Everything at `path`, in the order of the names.

    Args:
        path: a NIfTI file, a zip, a DICOM file, or a folder of any of these, at any depth. The DICOM images
            of one study are one source, however many series and folders they fill.
        skip: folder that is not looked into: the one results go to.

    Raises:
        InputError: nothing is there, nothing of the kind, or it cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: expected a NIfTI file, a zip or a folder, found nothing there")
    if path.is_dir():
        return _in_folder(path, skip)
    if _is_file_kind(path):
        return [Source(path, _stem(path))]
    header, reason = _header(path)
    if header is None:
        raise InputError(
            f"{path}: expected a NIfTI file (.nii, .nii.gz), a zip, a DICOM file or a folder, found {reason}"
        )
    return [Source(path, path.stem, Study(str(header.get("StudyInstanceUID", "")), {path: header}))]


def case_names(sources: Iterable[Source], root: Path) -> list[str]:
    """A folder name for each source: its own name, or with the folders above it where two are the same."""
    sources = list(sources)
    own = [_clean(source.name) for source in sources]
    names = list(own)
    for i, source in enumerate(sources):
        if own.count(own[i]) > 1 and source.path != root and root.is_dir():
            inside = source.path.parent.relative_to(root).parts
            names[i] = _clean("_".join([*inside, source.name]))
    taken: set[str] = set()
    for i, name in enumerate(names):
        number = 2
        while names[i].lower() in taken:
            names[i], number = f"{name}_{number}", number + 1
        taken.add(names[i].lower())
    return names


def _in_folder(folder: Path, skip: Path | None) -> list[Source]:
    sources: list[Source] = []
    studies: dict[str, Study] = {}
    broken: dict[Path, str] = {}
    for file in _files(folder, skip):
        if _is_file_kind(file):
            sources.append(Source(file, _stem(file)))
            continue
        header, reason = _header(file)
        if header is not None:
            uid = str(header.get("StudyInstanceUID", ""))
            studies.setdefault(uid, Study(uid)).headers[file] = header
        elif file.suffix.lower() in DICOM or reason.startswith("no permission"):
            broken[file] = reason
    for study in studies.values():
        parents = {file.parent for file in study.headers}
        study.broken = {file: reason for file, reason in broken.items() if file.parent in parents}
        common = Path(os.path.commonpath(parents))
        sources.append(Source(common, common.resolve().name, study))
    if not sources:
        found = f"{len(broken)} files that cannot be read" if broken else "none"
        example = f", such as {next(iter(broken))}: {next(iter(broken.values()))}" if broken else ""
        raise InputError(f"{folder}: expected NIfTI files, zips or DICOM images, found {found}{example}")
    return sorted(sources, key=lambda source: (str(source.path), source.study.uid if source.study else ""))


def _files(folder: Path, skip: Path | None) -> Iterator[Path]:
    """Files at any depth, without hidden ones and those that archivers of other systems leave.

    Links to folders are followed, as collections are often made of them; each folder is looked into once.
    """
    seen: set[Path] = set()

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: expected a folder that can be read, found {error.strerror}")

    for root, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        place = Path(root).resolve()
        if place in seen or (place == skip and seen):  # the folder that was asked for is looked into
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(names):
            if not name.startswith(".") and Path(root, name).is_file():
                yield Path(root, name)


def _header(file: Path) -> tuple[pydicom.Dataset | None, str]:
    """The tags of a DICOM image, or None and what the file is instead."""
    try:
        if file.stat().st_size == 0:
            return None, "an empty file"
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=TAGS)
    except InvalidDicomError:
        return None, "another kind of file"
    except PermissionError:
        return None, "no permission to read it"
    except Exception as error:  # pydicom raises many kinds on damaged files
        return None, f"a damaged DICOM file ({str(error)[:100] or type(error).__name__})"
    if "Rows" not in header:
        return None, "a DICOM file without an image"
    return header, ""


def _is_file_kind(path: Path) -> bool:
    return path.name.lower().endswith((*NIFTI, ".zip"))


def _stem(path: Path) -> str:
    name = path.name
    for ending in (".nii.gz", ".nii", ".zip"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def _clean(name: str) -> str:
    """A name that is safe as a folder's, and no hidden one."""
    return re.sub(r"[^\w.+-]+", "_", name).strip("._") or "case"
