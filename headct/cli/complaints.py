"""What is wrong with a command line, in one sentence in the words of `InputError`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

import typer

__all__ = ["complaint"]

KINDS = {"integer": "a whole number", "number": "a number"}
"""What values are, by a word of typer's message."""


def complaint(error: typer.TyperException, arguments: Sequence[str] = ()) -> str:
    """One line that says what was expected and what was found, with the nearest name that exists.

    Args:
        error: that typer raised.
        arguments: of the command line.
    """
    context: Any = getattr(error, "ctx", None)
    where = f"`{context.command_path}`" if context else "`headct`"
    option = getattr(error, "option_name", None)
    message = " ".join(error.format_message().split())
    if isinstance(error, typer.BadParameter):
        return _value(error, where, arguments)
    if option:
        return _option(option, message, context, where)
    commands = list(getattr(getattr(context, "command", None), "commands", {}))
    extra = re.search(r"unexpected extra argument\S* \((.*)\)", message)
    if extra:
        return f"{where}: expected no further argument, found {extra[1]}"
    if commands:
        found = re.search(r"No such command '(.*?)'", message)
        name = repr(found[1]) if found else "none"
        hint = _nearest(found[1], commands) if found else ""
        return f"{where}: expected one of {', '.join(commands)}, found {name}{hint}"
    return f"{where}: {message}"


def _value(error: typer.BadParameter, where: str, arguments: Sequence[str]) -> str:
    """A value that is missing, or of another kind."""
    parameter: Any = getattr(error, "param", None)
    options = [name for name in getattr(parameter, "opts", []) if name.startswith("-")]
    name = options[-1] if options else str(getattr(parameter, "name", None) or where).upper()
    if not error.message:  # typer has none for what is missing
        both = [*options, *getattr(parameter, "secondary_opts", [])]
        if getattr(parameter, "is_flag", False) and len(both) > 1:
            return f"{where}: expected one of {' and '.join(both)}, found neither"
        return f"{name}: expected a value for {where}, found none"
    choices = re.search(r"'(.*)' is not one of (.*?)\.?$", error.message)
    if choices:
        known = re.findall(r"'(.*?)'", choices[2])
        hint = _nearest(choices[1], known)
        return f"{name}: expected one of {', '.join(known)}, found {choices[1]!r}{hint}"
    kind = next((kind for word, kind in KINDS.items() if f"valid {word}" in error.message), None)
    found = _given(options, arguments)
    if kind and found:
        return f"{name}: expected {kind}, found {found}"
    return f"{name}: {' '.join(error.message.split())}"


def _option(option: str, message: str, context: Any, where: str) -> str:
    """An option that does not exist, or comes without a value, or with one that it does not take."""
    if "requires" in message:
        return f"{option}: expected a value, found none"
    if "does not take" in message:
        return f"{option}: expected no value, found one"
    known = [name for p in context.command.params for name in (*p.opts, *p.secondary_opts) if name[0] == "-"]
    hint = _nearest(option, known) or f"; {where[:-1]} --help` lists them"
    return f"{option}: expected an option of {where}, found none of this name{hint}"


def _given(options: Sequence[str], arguments: Sequence[str]) -> str:
    """The value of an option on the command line, as it was written."""
    for name, value in zip(arguments, [*arguments[1:], ""], strict=True):
        if name in options:
            return repr(value)
        if name.partition("=")[0] in options:
            return repr(name.partition("=")[2])
    return ""


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.replace("_", "-"), known, 1) or difflib.get_close_matches(
        name, known, 1
    )
    return f"; the nearest is {near[0]}" if near else ""
