"""The side that does tasks, on a Dask worker.

As a module that a worker loads first (`dask worker --preload headct.cohort.worker`) it leaves Ctrl-C to the
command, as a terminal sends it to every process.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any

from distributed import Worker, get_client, get_worker

from headct.cohort.tasks import attempt
from tools import __version__

__all__ = ["DEATHS", "Answer", "answer", "dask_setup", "say_nothing", "unwanted"]

DEATHS = 3  # of workers, after which a task is not tried again

_alone = Lock()


@dataclass
class Answer:
    """What a worker says of a task: its value or error, or that it does not try.

    Args:
        worker: address.
        version: of headct there.
        value, error, trace: see `headct.cohort.tasks.attempt`.
        died: the task has killed `DEATHS` workers.
    """

    worker: str
    version: str = __version__
    value: Any = None
    error: Exception | None = None
    trace: str = ""
    died: bool = False


def answer(
    function: Callable[[Any], Any], argument: Any, mark: Sequence[str], alone: bool, version: str
) -> Answer:
    """Do a task. The scheduler keeps count of its tries that came to no end, since their worker died.

    Args:
        function, argument: the task.
        mark: where the scheduler keeps the count.
        alone: wait for other tasks of this process.
        version: of headct at the client; another one does not try.
    """
    here = get_worker().address
    if version != __version__:
        return Answer(here)
    client = get_client()
    with _alone if alone else nullcontext():
        tries = client.get_metadata(mark, 0)
        if tries >= DEATHS:
            return Answer(here, died=True)
        client.set_metadata(mark, tries + 1)
        value, error, trace = attempt(function, argument)
        client.set_metadata(mark, tries)
    return Answer(here, __version__, value, error, trace)


def unwanted() -> Callable[[], bool]:
    """In a task: a function that says whether nobody waits for it any more. It may be called in any thread.

    That is when its command was stopped or killed, or when this worker ends.
    """
    worker = get_worker()
    key = worker.get_current_task()

    def ask() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state != "executing" or worker.status.name != "running"

    return ask


def dask_setup(worker: Worker) -> None:
    """What a worker of `--jobs` does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say_nothing()


def say_nothing() -> None:
    """Let Dask log in this process only what ends it."""
    for name in ["distributed", *logging.root.manager.loggerDict]:
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
