"""Options that belong together: a dataclass, or the mapping that a configuration file has in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from tools.core.errors import InputError

Options = TypeVar("Options")


def options_of(kind: type[Options], given: Options | Mapping[str, Any] | None) -> Options:
    """An object of the dataclass `kind`: the one given, or made from a mapping; None takes the defaults.

    Raises:
        InputError: the mapping names something that `kind` does not have.
    """
    if isinstance(given, kind):
        return given
    if given is not None and not isinstance(given, Mapping):
        raise InputError(f"{kind.__name__}: expected a mapping of options, found {given!r}")
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(set(given or {}) - set(known))
    if unknown:
        raise InputError(
            f"{kind.__name__}: expected options among {', '.join(known)}, found {', '.join(unknown)}"
        )
    return kind(**(given or {}))
