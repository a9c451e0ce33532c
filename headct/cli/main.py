"""All commands under one name, and how each ends: its exit code, and one line when it cannot go on."""

from __future__ import annotations

import io
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from headct.cli import bundle, correct, datasets, phantom, predict, reproduce, runs, score, symmetry
from headct.cli.command import Command
from headct.cli.complaints import complaint
from tools.core.errors import one_line

__all__ = ["app", "main"]

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class _Commands(TyperGroup):
    """All commands: an interrupt ends each with one line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with _terminable():
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            print(f"interrupted{f': {error}' if str(error) else ''}", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from error


app = typer.Typer(
    name="headct",
    cls=_Commands,
    help="Find and outline bleeding on head CT: predict, train, score, publish. Research use only.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _add(group: typer.Typer, commands: Mapping[str, Callable[..., None]]) -> None:
    for name, function in commands.items():
        group.command(name, cls=Command)(function)


def _group(name: str, help: str, commands: Mapping[str, Callable[..., None]]) -> None:
    group = typer.Typer(rich_markup_mode=None)
    _add(group, commands)
    app.add_typer(group, name=name, help=help)


_add(app, {"predict": predict.predict, "correct": correct.correct, "phantom": phantom.phantom})
_group(
    "datasets",
    "Public data sets: list them, prepare your copy, export it.",
    {"list": datasets.list_datasets, "prepare": datasets.prepare, "export": datasets.export},
)
_add(app, {"crossval": runs.crossval, "best-epoch": runs.best_epoch})
_group(
    "score",
    "Scores of folders, runs and patients.",
    {"folder": score.folder, "compare": score.compare, "subgroups": score.subgroups},
)
_group(
    "bundle",
    "Publish, verify, export; weights.",
    {
        "publish": bundle.publish,
        "verify": bundle.verify,
        "export": bundle.export,
        "fetch-weights": bundle.fetch_weights,
        "ship-weights": bundle.ship_weights,
    },
)
_group(
    "reproduce",
    "A paper's tables, beside its own figures.",
    {
        "abramova2021": reproduce.abramova2021,
        "abramova2022": reproduce.abramova2022,
        "li2021": reproduce.li2021,
        "li2021-pretrained": reproduce.li2021_pretrained,
        "hssayeni2020": reproduce.hssayeni2020,
        "dunet": reproduce.dunet,
    },
)
_add(app, {"symmetry": symmetry.symmetry})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: those of the command line; default: this process's.

    Returns:
        exit code: 0; 2 for input, a file or a command line that cannot be used, which one line on the
        standard error says; 130 after an interrupt; 1 where only some of the cases of `predict` failed.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that is not UTF-8 shows names it cannot write
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return app(arguments or ["--help"], prog_name="headct", standalone_mode=False) or 0
    except typer.TyperException as error:
        print(f"error: {complaint(error, arguments)}", file=sys.stderr)
    except Exception as error:
        line = one_line(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
    return 2


@contextmanager
def _terminable() -> Iterator[None]:
    """Let the signal by which systems end programs clean up as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
