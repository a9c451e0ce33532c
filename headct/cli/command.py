"""What all commands share: how they read their arguments, and options that several have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from tools.core.errors import InputError

__all__ = [
    "Command",
    "Jobs",
    "Keys",
    "Out",
    "Progress",
    "Scheduler",
    "SchedulerFile",
    "keys",
    "names",
    "names_if",
]


class Command(TyperCommand):
    """A command that does not take the next option for the value of the one before.

    Else `--out --cases 3` would write to a folder of the name `--cases`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        values = {
            name: option.nargs
            for option in self.params
            if isinstance(option, TyperOption) and not option.is_flag
            for name in option.opts
        }
        for i, name in enumerate(args):
            if name == "--":
                break
            following = args[i + 1 :][: values.get(name, 0)]
            if any(value.startswith("--") for value in following):
                raise InputError(f"{name}: expected a value, found the option {following[-1]}")
        return super().parse_args(ctx, args)


Progress = Annotated[bool, typer.Option(help="Show progress bars.")]
Out = Annotated[Path, typer.Option(help="Folder for the results.")]
Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A key of the bundle's configuration, such as max_epochs=10 or size=[96,96]; may be repeated.",
    ),
]
Jobs = Annotated[
    int, typer.Option(help="Cases at a time on this machine, each in a process; 1 needs no extra [cluster].")
]
Scheduler = Annotated[
    str | None, typer.Option(help="Run on a Dask cluster instead: its scheduler, such as tcp://host:8786.")
]
SchedulerFile = Annotated[
    Path | None, typer.Option(help="The same, by the file that its scheduler has written.")
]


def names(text: str) -> list[str]:
    """Names that were given as one word, separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def names_if(text: str | None) -> list[str] | None:
    """The same of an option that may be left out."""
    return None if text is None else names(text)


def keys(pairs: list[str] | None, option: str = "--set") -> dict[str, Any]:
    """Values by key, of words KEY=VALUE; read as `python -m monai.bundle run --KEY VALUE` does.

    Raises:
        InputError: a word without `=`.
    """
    from fire.parser import DefaultParseValue

    found = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise InputError(f"{option}: expected KEY=VALUE, found {pair!r}")
        found[key.strip()] = DefaultParseValue(value)
    return found
