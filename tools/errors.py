"""The one exception that bad input raises."""

from __future__ import annotations


class InputError(ValueError):
    """Input that cannot be used: the message names the file, what was expected and what was found.

    The command line prints the message alone and exits with code 2, without a traceback.
    """
