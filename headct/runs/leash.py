"""A program that ends with the one that started it, however that ended: also by `kill -9`, also on a worker.

`python -m headct.runs.leash FOLDER PROGRAM ...` runs PROGRAM as long as its standard input is open. What
holds the other end of that pipe, and nothing else does, is the process that wants the program to run: when
the operating system closes it, the program is ended. FOLDER is locked until the program has ended, so that
the next one that works there, perhaps on another machine, does not begin before.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

__all__ = ["Unwanted", "run_on_leash", "wait_for_end"]

LOCK = ".running"
SECONDS_TO_END = 20.0  # that a program has after SIGTERM
POLL = 0.5


class Unwanted(Exception):
    """Nobody waits for what was run any more, so it was ended."""


def run_on_leash(
    command: Sequence[str],
    folder: Path,
    cwd: Path,
    environment: Mapping[str, str],
    output: IO[str],
    unwanted: Callable[[], bool] | None = None,
) -> int:
    """Run a program to its end; it has ended when this returns or raises.

    Args:
        command: the program and its arguments.
        folder: where it works: locked meanwhile. Waits a little for another program there to end.
        cwd, environment: of the program.
        output: takes what it prints.
        unwanted: asked twice a second whether nobody waits for it any more; None never is.

    Returns:
        its exit code; 128 and the signal's number where a signal ended it.

    Raises:
        Unwanted: so said `unwanted`.
    """
    holder = [sys.executable, "-m", "headct.runs.leash", str(folder), *command]
    process = subprocess.Popen(
        holder, cwd=cwd, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
    )
    try:
        while unwanted is None or not unwanted():
            with suppress(subprocess.TimeoutExpired):
                return process.wait(POLL)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
    raise Unwanted(" ".join(command))


def wait_for_end(folders: Sequence[Path]) -> None:
    """Wait until no program is on a leash in any of the folders, each for as long as one may take to end."""
    for folder in folders:
        if (folder / LOCK).exists():
            with suppress(Timeout):
                _take(folder).release()


def _take(folder: Path) -> FileLock:
    lock = FileLock(folder / LOCK)
    lock.acquire(timeout=SECONDS_TO_END + 10)
    return lock


def main(folder: str, command: Sequence[str]) -> int:
    """Run the command until it ends or the standard input does."""
    try:
        lock = _take(Path(folder))
    except Timeout:
        print(f"error: {folder}: expected no other run in this folder, found one that goes on", flush=True)
        return 2
    # not SIG_IGN, which the program would inherit: a terminal's Ctrl-C is for it too
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:

        def end() -> None:
            while os.read(0, 4096):
                pass
            process.terminate()
            try:
                process.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()

        threading.Thread(target=end, daemon=True).start()
        code = process.wait()
    (Path(folder) / LOCK).unlink(missing_ok=True)
    lock.release()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
