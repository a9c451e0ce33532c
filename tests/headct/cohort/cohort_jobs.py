"""What the tests let workers do: a module of its own, which a worker's process can import."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from distributed import get_worker

from headct.cohort.worker import unwanted
from headct.runs.leash import run_on_leash


def do(argument: tuple[Path, str, str]) -> str:
    """Note that it was begun; then, by its kind, write a result, or end the worker."""
    folder, name, kind = argument
    with (folder / "begun").open("a") as stream:
        print(name, os.getpid(), file=stream)
    if kind == "deadly" or (kind == "deadly once" and tries(folder, name) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "broken":
        try:
            raise ValueError("a cause that pickle loses")
        except ValueError as error:
            raise Unsendable(name, "no second argument") from error
    if (folder / name).exists():  # as every task of ours: what is done is kept
        return name
    time.sleep(0.05)
    part = folder / f"{name}.{os.getpid()}"
    try:
        part.write_text("x" * 100_000)
        os.link(part, folder / name)  # an error where there is one already
    finally:
        part.unlink()
    return name


def train(argument: tuple[Path, str]) -> str:
    """As a fold does: a program in its folder, which writes its number and, in the end, a result."""
    folder, text = argument
    folder.mkdir(exist_ok=True)
    program = f"import os, time, pathlib; pathlib.Path('pid').write_text(str(os.getpid())); {text}"
    with (folder / "log").open("a") as stream:
        run_on_leash([sys.executable, "-c", program], folder, folder, dict(os.environ), stream, unwanted())
    return (folder / "result").read_text()


def process(folder: Path) -> int:
    """The number of its process, also in a file that is called by the port of the worker."""
    (folder / get_worker().address.rpartition(":")[2]).write_text(str(os.getpid()))
    return os.getpid()


def tries(folder: Path, name: str) -> int:
    """How often it was begun."""
    return [line.split()[0] for line in (folder / "begun").read_text().splitlines()].count(name)


class Unsendable(Exception):
    """Pickle cannot bring it back, as it has two arguments and passes on one."""

    def __init__(self, name: str, second: str) -> None:
        super().__init__(name)
