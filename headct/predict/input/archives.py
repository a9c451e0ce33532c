"""Unpacking a zip that somebody sent: nothing outside the folder, no links, no bombs."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tools.core.errors import InputError
from tools.core.limits import check_file, check_growth, in_gb, max_bytes

__all__ = ["unpack"]

MOST_GB = 8.0
MOST_FILES = 50_000


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip into an empty folder.

    All names and sizes are checked before the first file is written (`HEADCT_MAX_GB` raises the limit).

    Raises:
        InputError: it is no zip, damaged or encrypted, a name leaves the folder or is a link, or it would
            become too large.
    """
    check_file(archive)
    try:
        with zipfile.ZipFile(archive) as file:
            members = [info for info in file.infolist() if not info.is_dir()]
            _check(archive, members)
            for info in members:
                target = folder / PurePosixPath(info.filename)
                target.parent.mkdir(parents=True, exist_ok=True)
                # zipfile reads no more than the size that was checked, and compares the checksum
                with file.open(info) as reader, target.open("xb") as writer:
                    shutil.copyfileobj(reader, writer, 2**20)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise InputError(f"{archive}: expected a complete zip file, found {error}") from error
    except FileExistsError as error:
        raise InputError(f"{archive}: expected every name once, found {error.filename} twice") from error
    except PermissionError as error:
        raise InputError(f"{archive}: expected a zip that can be read, found no permission") from error


def _check(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    if not members:
        raise InputError(f"{archive}: expected files in the zip, found none")
    if len(members) > MOST_FILES:
        raise InputError(f"{archive}: expected at most {MOST_FILES} files, found {len(members)}")
    for info in members:
        name = info.filename.replace("\\", "/")
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or ":" in parts[0] or "\0" in name:
            raise InputError(f"{archive}: expected names within the zip, found {info.filename!r}")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise InputError(f"{archive}: expected files, found the link {info.filename!r}")
        if info.flag_bits & 1:
            raise InputError(f"{archive}: expected a zip without password, found {info.filename!r} encrypted")
    size = sum(info.file_size for info in members)
    check_growth(size, archive.stat().st_size, archive)
    if size > max_bytes(MOST_GB):
        raise InputError(
            f"{archive}: expected a zip of at most {in_gb(max_bytes(MOST_GB))}, found {in_gb(size)} "
            "(HEADCT_MAX_GB raises the limit)"
        )
