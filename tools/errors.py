"""The one exception that bad input raises."""

from __future__ import annotations

import sys
from types import TracebackType


class InputError(ValueError):
    """Input that cannot be used: the message names the file, what was expected and what was found.

    The command line prints the message alone and exits with code 2, without a traceback.
    """


def plain_input_errors() -> None:
    """Let an uncaught `InputError` end the program with its one line instead of a traceback.

    MONAI wraps what a component of a configuration raises in errors of its own; the configurations call this
    first, so that the line a user needs is the last one printed.
    """
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            previous(kind, error, trace)
        else:
            print(f"error: {cause}", file=sys.stderr)

    sys.excepthook = hook
