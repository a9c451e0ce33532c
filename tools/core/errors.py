"""The one exception that bad input raises, and the one line that it and a failing disk end with."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class InputError(ValueError):
    """Input that cannot be used: the message names the file, what was expected and what was found.

    The command line prints the message alone and exits with code 2, without a traceback.
    """


def input_error(error: BaseException | None) -> InputError | None:
    """The `InputError` that an error is or comes from; MONAI wraps what a component raises in others."""
    return next((cause for cause in causes(error) if isinstance(cause, InputError)), None)


def causes(error: BaseException | None, context: bool = True) -> Iterator[BaseException]:
    """An error, and those that it comes from, each once: an error may be raised from one that came from it.

    With `context`, also those in whose handling another was raised.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (error.__context__ if context else None)


def one_line(error: BaseException) -> str | None:
    """What a user is told of bad input, or of a file that can't be read or written; None of other errors."""
    cause = input_error(error)
    if cause is not None:
        return str(cause)
    for disk in _disk_errors(error):
        what = "room on its disk" if disk.errno in FULL else "that it can be read or written"
        return f"{disk.filename or 'a file'}: expected {what}, found: {disk.strerror}"
    return None


def first_line(error: BaseException) -> str:
    """The first line of an error's message, with its kind: for errors that `one_line` has no words for."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0][:300]}"


def disk_is_full(error: BaseException) -> bool:
    """Whether an error comes from a disk without room, or a file that may not grow further."""
    return any(disk.errno in FULL for disk in _disk_errors(error))


def _disk_errors(error: BaseException | None) -> Iterator[OSError]:
    """Those of the system that an error is or was raised from; libraries raise `OSError`s of their own."""
    for cause in causes(error, context=False):
        if isinstance(cause, OSError) and cause.errno is not None and cause.strerror:
            yield cause


def renamed(message: str, names: Mapping[str, str]) -> str:
    """A message in which paths are called by other names, the longest path first.

    A path is found where it stands as a whole or begins a longer one; a word only before a slash or colon.
    """
    for path in sorted(names, key=len, reverse=True):
        end = r"(?![\w.-])" if re.search(r"[/\\]", path) else r"(?=[/\\:])"
        name = names[path].replace("\\", r"\\")
        message = re.sub(rf"(?<![\w./\\-]){re.escape(path)}{end}", name, message)
    return message


@contextmanager
def called(path: object, name: object) -> Iterator[None]:
    """Let input errors call a path by another name."""
    try:
        yield
    except InputError as error:
        raise InputError(renamed(str(error), {str(path): str(name)})) from None


def plain_input_errors() -> None:
    """Let what `one_line` has words for end the program with that line instead of a traceback.

    A configuration's first step: MONAI wraps what its components raise in errors of its own.
    """
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        line = one_line(error)
        if line is None:
            previous(kind, error, trace)
        else:
            print(f"error: {line}", file=sys.stderr)

    sys.excepthook = hook
