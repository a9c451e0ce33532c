"""One process at a time in a folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from tools.core.errors import InputError


def lock_folder(folder: str | Path, use: str) -> BaseFileLock:
    """Take a folder for this process alone, until the lock is released or the process ends.

    The operating system keeps the lock, not the file `.lock`: it is gone with the process that held it, also
    when that was killed or ran in another container, and network file systems ask their server.

    Args:
        folder: is made if need be.
        use: what is done in it, for the message.

    Raises:
        InputError: another process has it.
        OSError: nothing can be written there.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    lock = FileLock(Path(folder, ".lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"{folder}: expected no other {use} in this folder, found one that is running: "
            "wait for it, end it, or choose another folder"
        ) from error
    except PermissionError as error:
        raise PermissionError(error.errno, os.strerror(error.errno or 13), str(folder)) from error
    return lock


def release(lock: BaseFileLock) -> None:
    """Let others have it, and leave no file behind: who waits for it sees that its file is gone."""
    with suppress(OSError):  # Windows keeps a file that is open
        os.unlink(lock.lock_file)
    lock.release()
