"""What there is to predict at a path: NIfTI files, DICOM studies, zips of either."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tools.core.errors import InputError
from tools.core.extras import extra_packages
from tools.core.files import file_hash, input_files, nothing_in
from tools.core.limits import check_file
from tools.core.names import DICOM_ENDINGS, case_name, is_second_of_pair, is_volume, neutral_name

if TYPE_CHECKING:
    import pydicom

__all__ = ["Source", "Study", "case_names", "find_sources"]

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"  # of CT images, classic and enhanced
CLOSED, NOTHING = "no permission to read it", "a link to nothing"
LONGEST = 200  # bytes of a case's name; file systems take 255
RESERVED = ("index.html", "summary.csv")
# All that is asked of a DICOM file before its pixels are read
TAGS = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "SeriesNumber", "SeriesDescription", "StudyDescription", "ProtocolName", "BodyPartExamined", "Modality",
    "ImageType", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "PixelSpacing", "SliceThickness",
    "ImagePositionPatient", "ImageOrientationPatient", "GantryDetectorTilt", "ContrastBolusAgent",
    "ConvolutionKernel", "InstanceNumber", "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "AccessionNumber", "StudyDate", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "ContrastBolusAgentSequence",
    "RescaleIntercept", "RescaleSlope", "RescaleType", "AcquisitionNumber", "AcquisitionTime",
    "TemporalPositionIdentifier", "AcquisitionUID", "BitsAllocated", "BitsStored", "PixelRepresentation",
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
        fault: what keeps a folder from being looked into, or its images from being read; nothing else is
            known of it then.
    """

    path: Path
    name: str
    study: Study | None = None
    fault: str = ""

    @property
    def is_zip(self) -> bool:
        """Whether it must be unpacked before it is known what is in it."""
        return self.study is None and self.path.suffix.lower() == ".zip"

    @property
    def digest(self) -> str:
        """Checksum of the content of its files, wherever they lie."""
        if self.study is None:
            return file_hash(self.path)
        content = sorted(file_hash(file) for file in self.study.headers)
        return hashlib.sha256("\n".join(content).encode()).hexdigest()


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
    check_file(path)
    if _is_file_kind(path):
        return [Source(path, case_name(path))]
    header, reason = _header(path)
    if header is None:
        raise InputError(
            f"{path}: expected a volume (NIfTI, NRRD, MetaImage, Analyze), a zip, a DICOM file or a folder, "
            f"found {reason}"
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
    images: dict[Path, pydicom.Dataset] = {}
    broken: dict[Path, str] = {}
    closed: list[OSError] = []
    for file in input_files(folder, skip, closed):
        if is_second_of_pair(file):
            continue
        if _is_file_kind(file):
            fault = "" if os.path.exists(file) else f"{file}: expected a file, found {NOTHING}"
            sources.append(Source(file, case_name(file), fault=fault))
            continue
        header, reason = _header(file)
        if header is not None:
            images[file] = header
        elif file.suffix.lower() in DICOM_ENDINGS or reason in (CLOSED, NOTHING):
            broken[file] = reason
    for study in _studies(images):
        parents = {file.parent for file in study.headers}
        study.broken = {
            file: reason
            for file, reason in broken.items()
            if file.parent in parents and not _is_other_object(file)
        }
        common = Path(os.path.commonpath(parents))
        sources.append(Source(common, common.resolve().name, study))
    for error in closed:
        fault = f"{error.filename}: expected a folder that can be read, found: {error.strerror}"
        if not sources:
            raise InputError(fault)
        name = neutral_name(str(error.filename))  # it may be called after a patient
        sources.append(Source(Path(str(error.filename)), name, fault=fault))
    if not sources:
        found = f"{len(broken)} files that cannot be read" if broken else nothing_in(folder)
        example = f", such as {next(iter(broken)).name}: {next(iter(broken.values()))}" if broken else ""
        raise InputError(f"{folder}: expected volumes, zips or DICOM images, found {found}{example}")
    beside = {file.parent for file in images}
    files = beside | {source.path.parent for source in sources if source.study is None}
    for file, reason in broken.items():  # of folders without any image, one for each
        alone = file.suffix.lower() in DICOM_ENDINGS or reason == NOTHING
        if file.parent in (beside if alone else files) or _is_other_object(file):
            continue
        beside.add(file.parent)
        files.add(file.parent)
        fault = f"{file}: expected a DICOM image, found {reason}"
        sources.append(Source(file.parent, neutral_name(str(file.parent)), fault=fault))
    return sorted(sources, key=lambda source: (str(source.path), source.study.uid if source.study else ""))


def _studies(images: dict[Path, pydicom.Dataset]) -> list[Study]:
    """The studies that images belong to, in the order of their first images.

    Images that name no study belong to the one study of their folder, and so do those of a folder in which
    every image of one patient has a study of its own.
    """
    uids = {file: str(header.get("StudyInstanceUID", "") or "") for file, header in images.items()}
    counts = Counter(uids.values())
    folders: dict[Path, list[Path]] = {}
    for file in images:
        folders.setdefault(file.parent, []).append(file)
    for folder, files in folders.items():
        named = {uids[file] for file in files if uids[file]}
        patients = {str(images[file].get("PatientID", "")) for file in files}
        if len(named) > 2 and len(patients) == 1 and all(counts[uid] == 1 for uid in named):
            own = min(named)
            uids |= dict.fromkeys(files, own)
        elif len(named) <= 1:
            own = next(iter(named), f"unnamed in {folder}")
            uids |= {file: uids[file] or own for file in files}
        else:
            uids |= {file: uids[file] or f"unnamed in {folder}" for file in files}
    studies: dict[str, Study] = {}
    for file, header in images.items():
        studies.setdefault(uids[file], Study(uids[file])).headers[file] = header
    return list(studies.values())


def _is_other_object(file: Path) -> bool:
    """Whether a DICOM file is complete and no image: a report of the dose, a PDF, a presentation state."""
    with extra_packages("reading DICOM"):
        from tools.volumes.dicom_file import read_dicom
    try:
        header = read_dicom(file, stop_before_pixels=True)
        return not str(header.SOPClassUID).startswith(CT_CLASS) and "Rows" not in header
    except Exception:  # pydicom raises many kinds on damaged files
        return False


def _header(file: Path) -> tuple[pydicom.Dataset | None, str]:
    """The tags of a DICOM image, or None and what the file is instead."""
    try:
        with extra_packages("reading DICOM"):  # here: NIfTI needs none
            from tools.volumes.dicom import read_header
        return read_header(file, TAGS)
    except PermissionError:
        return None, CLOSED
    except FileNotFoundError:
        return None, NOTHING


def _is_file_kind(path: Path) -> bool:
    return is_volume(path) or path.suffix.lower() == ".zip"


def _clean(name: str) -> str:
    """A name that is safe as a folder's: no hidden one, no option of a command, no file of all results, and
    with room for what the names of its files add."""
    clean = re.sub(r"[^\w.+-]+", "_", name).strip("._").lstrip("-.+_") or "case"
    clean = clean.encode()[:LONGEST].decode(errors="ignore")
    return f"case_{clean}" if clean.lower() in RESERVED else clean
