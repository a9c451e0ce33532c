"""A case's name from its path, and what kind of file a path names."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from pathlib import Path


def case_name(path: str | Path) -> str:
    """File name without folder and extension (.nii.gz counts as one); accents as one character (NFC)."""
    name = unicodedata.normalize("NFC", Path(path).name)
    for extension in (*VOLUMES[::-1], ".png", ".jpg", ".jpeg", ".dcm", ".npy", ".zip"):
        if name.lower().endswith(extension):
            return name[: -len(extension)]
    return name


def neutral_name(*uids: str) -> str:
    """A name for a DICOM image that tells nothing of the patient and is the same each time, from its UIDs."""
    return "case_" + hashlib.sha256("\n".join(uids).encode()).hexdigest()[:10]


def slice_name(case: str, number: int) -> str:
    """What a single slice of a case is called; `number` counts from 1, in the order of its file."""
    return f"{case}_{number:03d}"


def is_picture(path: str | Path) -> bool:
    """True for the names of JPEG and PNG files."""
    return _ends(path, PICTURES)


PICTURES = (".jpg", ".jpeg", ".png")


def is_nifti(path: str | Path) -> bool:
    """True for names that end in .nii or .nii.gz, in upper or lower case; of macOS's `._a.nii` it is not."""
    return _ends(path, (".nii", ".nii.gz"))


def is_volume(path: str | Path) -> bool:
    """True for the names of files that hold one volume: NIfTI, NRRD, MetaImage, Analyze."""
    return _ends(path, VOLUMES)


def _ends(path: str | Path, endings: tuple[str, ...]) -> bool:
    name = Path(path).name.lower()
    return name.endswith(endings) and not name.startswith("._")


def listed(items: Iterable[object], most: int = 5, separator: str = "; ") -> str:
    """The first of some items as one text, and how many more there are."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + more


def shown_name(case: str, study: str) -> str:
    """What messages call a DICOM case instead of its folder, which is often called by the patient."""
    return f"{case} (study {study})" if study else case


def is_second_of_pair(path: str | Path) -> bool:
    """True for an Analyze file of voxels (.img) beside its header (.hdr), which stands for both."""
    path = Path(path)
    headers = (path.with_suffix(ending) for ending in (".hdr", ".HDR", ".Hdr"))
    return path.suffix.lower() == ".img" and any(header.exists() for header in headers)


def unpacked(path: str | Path) -> Path:
    """The volume in a folder of its own name, as Kaggle unpacks `a.nii` to `a.nii/a.nii`, or the path."""
    inner = Path(path, Path(path).name)
    return inner if is_volume(inner) and inner.is_file() else Path(path)


VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img")
DICOM_ENDINGS = (".dcm", ".ima", ".dicom")  # where files have one
