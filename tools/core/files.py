"""Bytes on disk: written in one step, the same for the same content; their checksum."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

from tools.core.errors import InputError
from tools.core.names import DICOM_ENDINGS, is_nifti

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed anyway
    fcntl = None  # type: ignore[assignment]


RESULT = b"result of headct"  # in what it writes of scans: NIfTI's descrip, DICOM's preamble, a text in PNG
PARTIAL = ".part"  # ending of a file that is being written


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A file to write in place of `path`, which it becomes in one step: no reader ever sees half a file.

    It is on the disk before it takes the name: a power failure leaves the old file or the new one.

    Yields:
        an empty file beside `path`, whose folder is made if need be; removed on an error.

    Raises:
        OSError: naming `path`, as for a full disk.
    """
    path = Path(path)
    prefix = f".{path.name[:30]}."  # the whole may be as long as a name can be
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=PARTIAL)
        try:
            _lock(handle)  # as long as it is written, see `remove_partial_files`
            yield Path(name)
            os.fsync(handle)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
    except OSError as error:
        ours = error.filename is None or Path(error.filename).name.startswith(prefix)
        if error.errno is None or not ours:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Let the names of a folder's files survive a power failure, on systems that can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        with suppress(OSError):  # some network file systems refuse
            os.fsync(handle)
        os.close(handle)


def remove_partial_files(folder: Path) -> None:
    """Remove what `replacing` was writing to a folder when it was killed; nothing that is being written."""
    for file in folder.glob(f".*{PARTIAL}"):
        with suppress(OSError), file.open("rb") as stream:
            _lock(stream.fileno())
            file.unlink(missing_ok=True)


def _lock(handle: int) -> None:
    """Mark a file as in use, until it is closed.

    Raises:
        OSError: it is.
    """
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def input_files(
    folder: str | Path, skip: Path | None = None, closed: list[OSError] | None = None
) -> Iterator[Path]:
    """Files at any depth that may be meant as input, and links to nothing, by folder in the order of names.

    Left out are hidden ones, those that archivers of other systems leave, and what `is_result`. Links to
    folders are followed, as collections are often made of them; each folder is looked into once.

    Args:
        folder: where.
        skip: folder that is not looked into.
        closed: is given the errors of folders that cannot be looked into; None raises them.
    """

    def fail(error: OSError) -> None:
        if closed is None:
            raise error
        closed.append(error)

    seen: set[Path] = set()
    for root, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        place = Path(root).resolve()
        if place in seen or (place == skip and seen):  # the folder that was asked for is looked into
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for file in (Path(root, name) for name in sorted(names) if not name.startswith(".")):
            if (os.path.isfile(file) and not is_result(file)) or not os.path.exists(file):
                yield file


def absolute(path: str | Path) -> Path:
    """Without links and `..` in its folders, so that another path can be stated relative to it.

    A link to a file keeps its name: that of its target may lack the ending.
    """
    path = Path(path)
    return path.parent.resolve() / path.name


def existing(files: Iterable[Path]) -> list[Path]:
    """Files in the order of their names; raise `InputError` for a link to nothing."""
    files = sorted(files)
    for file in files:
        if not os.path.exists(file):
            raise InputError(f"{file}: expected a file, found a link to nothing")
    return files


def is_result(path: Path) -> bool:
    """Whether a file says at its beginning that it is a result of these programs, and so no input."""
    with suppress(OSError, zlib.error), path.open("rb") as stream:
        start = stream.read(1024)
        if start[:2] == b"\x1f\x8b":
            start = zlib.decompressobj(31).decompress(start, 1024)
        return RESULT in start
    return False


def nothing_in(folder: str | Path) -> str:
    """What a message says was found in a folder without any input."""
    results = any(file.is_file() and is_result(file) for file in Path(folder).rglob("*"))
    return "none but results of these programs, which are no input" if results else "none"


def is_dicom(path: Path) -> bool:
    """Whether it is a DICOM file, by its ending or its beginning."""
    if not path.is_file():
        return False
    if path.suffix.lower() in DICOM_ENDINGS:
        return True
    with path.open("rb") as stream:
        return begins_as_dicom(stream.read(132))


def begins_as_dicom(start: bytes) -> bool:
    """Whether the first 132 bytes of a file are those of DICOM, with the preamble of part 10 or without."""
    return start[128:] == b"DICM" or (start[:2] in (b"\x08\x00", b"\x02\x00") and start[3:4] == b"\x00")


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write a file in one step, see `replacing`; returns its path."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def write_text(path: str | Path, text: str) -> Path:
    """`write_bytes` of a text in UTF-8; of a file name that is none, its bytes as \\udc and two digits."""
    return write_bytes(path, text.encode(errors="backslashreplace"))


def nifti_image(array: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    """NIfTI-1 of `array` (X, Y, Z) with `affine`, voxels to RAS+ mm, in both forms."""
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1, strip_shears=True)
    return image


def nifti_bytes(
    array: np.ndarray, affine: np.ndarray, like: str | Path | None = None, result: bool = False
) -> bytes:
    """Gzipped NIfTI-1 of `array`, mm, scanner coordinates; no time stamp.

    Args:
        array: (X, Y, Z).
        affine: voxels to RAS+ mm.
        like: a file on whose voxels the array lies. If it is NIfTI of this shape and affine, the result has
            its qform, sform and their codes, which may differ: programs disagree on which they use.
        result: see `is_result`.
    """
    image = nifti_image(array, affine)
    image.header["descrip"] = RESULT if result else b""
    if like is not None and is_nifti(like):
        original: Any = nib.load(like)
        if original.shape[:3] == array.shape and np.allclose(original.affine, affine, atol=1e-4):
            for name in ("qform", "sform"):
                form, code = getattr(original.header, f"get_{name}")(coded=True)
                getattr(image, f"set_{name}")(affine if form is None else form, int(code))
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)


def jpeg_bytes(array: np.ndarray, quality: int = 97) -> bytes:
    """JPEG of a uint8 array (rows, columns)."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def file_hash(path: Path, kind: str = "sha256") -> str:
    """Checksum of a file as hexadecimal digits, by an algorithm of hashlib; it need not fit into memory."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(2**20), b""):
            digest.update(chunk)
    return digest.hexdigest()
