"""Bytes on disk: written in one step, the same for the same content; their checksum."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def nifti_bytes(array: np.ndarray, affine: np.ndarray) -> bytes:
    """Gzipped NIfTI-1 of `array`, mm, scanner coordinates; no time stamp."""
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1, strip_shears=True)
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)


def jpeg_bytes(array: np.ndarray, quality: int = 97) -> bytes:
    """JPEG of a uint8 array (rows, columns)."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def file_hash(path: Path, kind: str = "sha256") -> str:
    """Checksum of a file as hexadecimal digits; the file need not fit into memory.

    Args:
        path: the file.
        kind: name of the algorithm in hashlib.
    """
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(2**20), b""):
            digest.update(chunk)
    return digest.hexdigest()
