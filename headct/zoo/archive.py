"""A zip that is the same byte for byte whenever it is made from the same files.

Wherever, too, with the same build of zlib: another one may compress the same content to other bytes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

__all__ = ["zip_bytes"]

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold


def zip_bytes(content: Mapping[str, bytes]) -> bytes:
    """Zip of files by path, in alphabetical order, without the times and rights they have on this disk."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in sorted(content):
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, content[path])
    return buffer.getvalue()
