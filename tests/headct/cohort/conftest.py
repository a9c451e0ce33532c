"""A real scheduler with real workers, each a process of its own."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from distributed import Client, Nanny

from headct.cohort.workers import Workers

HERE = Path(__file__).parent
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")]),
}


class Cluster:
    """A scheduler, and workers that are added one by one."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self.processes: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(self.file))
        wait_for(self.file.is_file)

    def add(self, *options: str, largest_file: int | None = None) -> subprocess.Popen[bytes]:
        """A worker of one thread, which a nanny starts again when it is killed."""

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file or 0, resource.RLIM_INFINITY))

        return self._start(
            "worker", "--scheduler-file", str(self.file), "--nthreads", "1", "--memory-limit", "0", *options,
            limit=limit if largest_file is not None else None,
        )  # fmt: skip

    def _start(self, what: str, *options: str, limit: Callable[[], None] | None = None):
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard", *options],
            env=ENVIRONMENT, preexec_fn=limit, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.processes.append(process)
        return process

    @property
    def workers(self) -> Workers:
        """As a command is asked for it."""
        return Workers(scheduler_file=self.file)

    def wait_for_workers(self, number: int) -> None:
        """Wait until there are so many, and their nannies know it.

        A nanny ends with its worker if that is killed in the 50 ms before it has noted that the worker runs.
        """
        with Client(scheduler_file=str(self.file), set_as_default=False) as client:
            client.wait_for_workers(number, timeout=180)
            wait_for(lambda: set(client.run(_status, nanny=True).values()) == {"running"})

    def stop(self) -> None:
        """End it all."""
        for process in self.processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _status(dask_worker: Nanny) -> str:
    return dask_worker.status.name


def wait_for(true: Callable[[], object], seconds: float = 180) -> None:
    """Wait until something is the case."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)


@pytest.fixture
def wait() -> Callable[..., None]:
    """The function `wait_for`."""
    return wait_for


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and two workers."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.add()
        made.add()
        made.wait_for_workers(2)
        yield made
    finally:
        made.stop()


@pytest.fixture
def empty_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler whose workers the test adds."""
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
