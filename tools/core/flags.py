"""Switches from the command line, where `--resume false` arrives as the word "false"."""

from __future__ import annotations

from tools.core.errors import InputError

WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def is_true(value: bool | str | int | None, name: str = "switch") -> bool:
    """The truth of a switch.

    Python-fire, which reads the command line of MONAI bundles, takes only `True` and `False` for booleans.

    Args:
        value: a boolean, a number, None (false), or one of the words true, false, yes, no, on, off.
        name: what messages call it.

    Raises:
        InputError: any other word.
    """
    if not isinstance(value, str):
        return bool(value)
    if value.strip().lower() not in WORDS:
        raise InputError(f"{name}: expected true or false, found {value!r}")
    return WORDS[value.strip().lower()]
