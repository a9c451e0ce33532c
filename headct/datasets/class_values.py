"""Our class values by those of a data set's masks, from their names and what the user says of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tools.core.classes import CLASS_VALUES
from tools.core.errors import InputError
from tools.data.labels import class_value

__all__ = ["class_values"]

KNOWN = f"background, edema, hemorrhage, {', '.join(CLASS_VALUES)}"


def class_values(
    names: Mapping[int, str], path: Path, given: Mapping[str, str] | None = None
) -> dict[int, int]:
    """Our class value by value of the masks.

    Args:
        names: of the masks' values, see `listed_names`.
        path: of the file that says so, for messages.
        given: what the user says: {name or value: name that is known}.

    Raises:
        InputError: a name that is not known, and of which nothing was given.
    """
    given = {key.strip().lower(): name for key, name in (given or {}).items()}
    named = {**names, **{int(key): key for key in given if key.isdecimal() and int(key) not in names}}
    found: dict[int, int] = {}
    for value, name in named.items():
        said = given.get(str(value), given.get(name.strip().lower(), name))
        known = class_value(said)
        if known is None or (value == 0 and known):
            raise InputError(
                f"{path}: expected names of {KNOWN} for the values of the masks, found {said!r} for {value} "
                f"(--labels {value}=NAME says what it is)"
            )
        found[value] = known
    known_keys = {str(value) for value in named} | {name.strip().lower() for name in named.values()}
    for key in given:
        if key not in known_keys:
            raise InputError(f"labels: expected names of {path}, found {key!r}")
    return found
