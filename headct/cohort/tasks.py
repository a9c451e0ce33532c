"""Cases as tasks: in this process one after the other, or on workers; what goes wrong is an outcome, too."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Generic, TypeVar

from headct.cohort.workers import Workers
from tools.core.errors import InputError, input_error

__all__ = ["Need", "Outcome", "WorkersDied", "attempt", "gather", "run_tasks"]

A = TypeVar("A")
T = TypeVar("T")


class WorkersDied(InputError):
    """A case whose worker died each time that it was tried."""


class OnWorker(Exception):
    """What a worker says of an error: its traceback there, as text."""


@dataclass
class Outcome(Generic[T]):
    """What came of a task: a value, or the error that it raised.

    Args:
        number: of the task, from 0 on, in the order in which tasks were given.
        name: of the task.
        value, error: one of them.
    """

    number: int
    name: str
    value: T | None = None
    error: Exception | None = None

    def result(self) -> T:
        """The value.

        Raises:
            Exception: the task's error.
        """
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value] # there is one where there is no error


@dataclass(frozen=True)
class Need:
    """What tasks ask of a worker.

    Args:
        gpus: GPUs of each task, where there are workers that have some (resource `GPU`).
        alone: one task at a time in a process, since networks and their libraries share its memory.
        pin: give each process of `--jobs` GPUs of its own; False leaves it all.
    """

    gpus: int = 0
    alone: bool = True
    pin: bool = True


def run_tasks(
    function: Callable[[A], T],
    tasks: Iterable[tuple[str, A]],
    workers: Workers,
    need: Need | None = None,
) -> Generator[Outcome[T], None, None]:
    """Call a function with the argument of each task, and yield what comes of it, as it comes.

    In this process where one job or one task is asked for, without importing Dask. Else on workers: a task
    whose worker is killed is done by another one; it has failed (`WorkersDied`) after three of them. A worker
    whose disk is full is left out, and its task done elsewhere. Close the iterator to stop what runs.

    Args:
        function: of a module, so that workers can import it. It returns, and takes, what pickle can send.
        tasks: name and argument of each. They are drawn when there is room for them.
        workers: where tasks run.
        need: what a task asks of a worker.

    Raises:
        InputError: the cluster cannot be reached, or its workers have no headct, or another version.
    """
    source = iter(tasks)
    first = [] if workers.jobs == 1 else list(islice(source, 2))
    if workers.in_process(len(first)):
        for number, (name, argument) in enumerate(chain(first, source)):
            try:
                value = function(argument)
            except Exception as error:
                yield Outcome(number, name, error=error)
            else:
                yield Outcome(number, name, value)
        return
    from headct.cohort.client import run_on_cluster

    with closing(run_on_cluster(function, chain(first, source), workers, need or Need())) as outcomes:
        yield from outcomes


def gather(
    function: Callable[[A], T],
    tasks: Iterable[tuple[str, A]],
    workers: Workers,
    need: Need | None = None,
    done: Callable[[Outcome[T]], Any] = lambda outcome: None,
) -> list[T]:
    """The values of all tasks, in their order.

    Args:
        function, tasks, workers, need: see `run_tasks`.
        done: is given each outcome as it comes.

    Raises:
        WorkersDied: some tasks killed their workers; the others are done.
        Exception: the first other error. What had begun by then is done, and nothing else.
    """
    values: dict[int, T] = {}
    died: list[Exception] = []
    failed: list[Exception] = []
    left = (task for task in tasks if not failed)
    with closing(run_tasks(function, left, workers, need)) as outcomes:
        for outcome in outcomes:
            done(outcome)
            if outcome.error is None:
                values[outcome.number] = outcome.result()
            else:
                (died if isinstance(outcome.error, WorkersDied) else failed).append(outcome.error)
    if failed:
        raise failed[0]
    if died:
        raise WorkersDied("; ".join(map(str, died)))
    return [values[number] for number in sorted(values)]


def attempt(function: Callable[[A], T], argument: A) -> tuple[T | None, Exception | None, str]:
    """Value, error and traceback of a call, such that pickle can send them.

    Of an error whose cause is an `InputError`, which pickle would lose, it is that.
    """
    try:
        return function(argument), None, ""
    except Exception as error:
        found: Exception = input_error(error) or error
        try:
            pickle.loads(pickle.dumps(found))
        except Exception:
            found = RuntimeError(f"{type(error).__name__}: {error}")
        return None, found, traceback.format_exc()
