"""The side that hands tasks out: to processes of its own, or to the workers of a cluster."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from headct.cohort.gpus import gpus_of_jobs
from headct.cohort.tasks import Need, OnWorker, Outcome, WorkersDied
from headct.cohort.workers import Workers
from tools import __version__
from tools.core.errors import InputError, disk_is_full
from tools.core.extras import extra_packages

with extra_packages("running on several workers"):
    import dask
    from distributed import Client, Future, KilledWorker, Nanny, Scheduler, SpecCluster

    from headct.cohort.worker import DEATHS, Answer, answer, say_nothing

__all__ = ["run_on_cluster"]

WAIT = 1.0  # seconds between two looks at which workers there are
CONNECT, NEAR = "10 s", "5 s"  # to a scheduler, and between processes of this machine


def run_on_cluster(
    function: Callable[[Any], Any], tasks: Iterable[tuple[str, Any]], workers: Workers, need: Need
) -> Generator[Outcome[Any], None, None]:
    """`headct.cohort.tasks.run_tasks` on Dask."""
    with _client(workers, need) as client:
        desk = _Desk(client, workers.address, function, need)
        try:
            yield from desk.outcomes(tasks)
        finally:
            desk.stop()


@contextmanager
def _client(workers: Workers, need: Need) -> Iterator[Client]:
    """A client of the cluster; processes of its own are started, and ended with it."""
    say_nothing()  # a worker that dies is our message
    if not workers.elsewhere:
        with _processes(workers.jobs, need) as cluster, Client(cluster, set_as_default=False) as client:
            yield client
        return
    name, value = "address", workers.scheduler or ""
    if workers.scheduler_file is not None:
        name, value = "scheduler_file", str(workers.scheduler_file)
    try:
        client = Client(**{name: value}, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{workers.address}: expected a Dask scheduler, found none that answers "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from error
    with client:
        yield client


@contextmanager
def _processes(jobs: int, need: Need) -> Iterator[SpecCluster]:
    """A scheduler in this process, and workers of one thread that nothing but this machine reaches."""
    gpus = gpus_of_jobs(jobs, need.gpus) if need.gpus else []
    threads = max(1, (os.cpu_count() or 1) // jobs)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    common = {
        "host": "127.0.0.1",
        "nthreads": 1,
        "memory_limit": 0,  # a worker that holds a network would be paused for good
        "silence_logs": logging.CRITICAL,
        "preload": ["headct.cohort.worker"],
    }
    specs = {}
    for number in range(jobs):
        own: dict[str, Any] = {}
        if gpus:
            own["resources"] = {"GPU": need.gpus}
            if need.pin:
                own["env"] = {"CUDA_VISIBLE_DEVICES": gpus[number]}
        specs[number] = {"cls": Nanny, "options": {**common, **own}}
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard": False}}
    settings: dict[str, Any] = {
        "distributed.scheduler.allowed-failures": DEATHS - 1,
        "distributed.comm.timeouts.connect": NEAR,  # for as long a dead worker is asked for a result
    }
    settings |= {f"distributed.nanny.pre-spawn-environ.{name}": threads for name in names}
    with (
        dask.config.set(settings),
        SpecCluster(workers=specs, scheduler=scheduler, silence_logs=logging.CRITICAL) as cluster,
    ):
        yield cluster


@dataclass
class _Job:
    """A task that is out, and where it found no room on the disk."""

    number: int
    name: str
    argument: Any
    full: set[str] = field(default_factory=set)


class _Desk:
    """Tasks out and answers in."""

    def __init__(self, client: Client, address: str, function: Callable[[Any], Any], need: Need) -> None:
        self.client, self.address, self.function, self.need = client, address, function, need
        self.run = f"headct-{uuid.uuid4().hex}"
        self.out: dict[str, tuple[Future, _Job]] = {}
        self.back: SimpleQueue[str] = SimpleQueue()
        self.full: set[str] = set()  # addresses of workers without room on their disk
        self.slots: dict[str, int] = {}
        self.gpu = False
        self._looked = -WAIT

    def outcomes(self, tasks: Iterable[tuple[str, Any]]) -> Iterator[Outcome[Any]]:
        """What comes of the tasks, as it comes."""
        left = enumerate(tasks)
        more = True
        while True:
            self.look()
            while more and len(self.out) < self.room:
                number, task = next(left, (-1, None))
                if task is None:
                    more = False
                    break
                self.send(_Job(number, *task))
            if not self.out:
                return
            try:
                key = self.back.get(timeout=WAIT)
            except Empty:
                continue
            future, job = self.out.pop(key)
            outcome = self.read(future, job)
            if outcome is not None:
                yield outcome

    @property
    def good(self) -> list[str]:
        """Workers that have room on their disk."""
        return [address for address in self.slots if address not in self.full]

    @property
    def room(self) -> int:
        """How many tasks may be out."""
        return max(1, sum(self.slots[address] for address in self.good))

    def look(self) -> None:
        """See which workers there are, but not too often."""
        if monotonic() - self._looked < WAIT:
            return
        self._looked = monotonic()
        with self.talking():
            found = self.client.scheduler_info(n_workers=-1)["workers"]
        gpus = {address: int(one.get("resources", {}).get("GPU", 0)) for address, one in found.items()}
        self.gpu = bool(self.need.gpus) and any(gpus.values())
        if self.gpu and max(gpus.values()) < self.need.gpus:
            raise InputError(
                f"{self.address}: expected a worker with {self.need.gpus} GPUs "
                f"(--resources GPU={self.need.gpus}), found {max(gpus.values())} at most"
            )
        for address, one in found.items():
            threads = 1 if self.need.alone else one["nthreads"]
            self.slots[address] = min(threads, gpus[address] // self.need.gpus) if self.gpu else threads
        for address in set(self.slots) - set(found):
            del self.slots[address]

    def send(self, job: _Job) -> None:
        """Hand a task out; where a disk was full, to the other workers."""
        key = f"{self.run}-{job.number}-{uuid.uuid4().hex[:6]}"
        where = {"workers": self.good, "allow_other_workers": True} if self.full and self.good else {}
        resources = {"GPU": self.need.gpus} if self.gpu else None
        with self.talking():
            future = self.client.submit(
                answer, self.function, job.argument, [self.run, str(job.number)], self.need.alone,
                __version__, key=key, resources=resources, pure=False, **where,
            )  # fmt: skip
        self.out[key] = (future, job)
        future.add_done_callback(lambda done: self.back.put(done.key))

    def read(self, future: Future, job: _Job) -> Outcome[Any] | None:
        """The outcome of a task that came back; None if it is out again."""
        with self.talking():
            error = future.exception() if future.status == "error" else None
            if isinstance(error, KilledWorker):  # one that only waited there is not to blame
                if self.client.get_metadata([self.run, str(job.number)], 0) < DEATHS:
                    self.send(job)
                    return None
                return _died(job)
            if error is not None:
                raise InputError(
                    f"{self.address}: expected workers that have headct {__version__}, "
                    f"found {type(error).__name__}: {error}"
                ) from error
            done: Answer = future.result()
        if done.version != __version__:
            raise InputError(
                f"{self.address}: expected workers with headct {__version__}, as here, found {done.version}"
            )
        if done.died:
            return _died(job)
        if done.error is not None and disk_is_full(done.error):
            self.full.add(done.worker)
            job.full.add(done.worker)
            self._looked = -WAIT
            self.look()
            if set(self.good) - job.full:
                self.send(job)
                return None
        if done.error is not None:
            done.error.__cause__ = OnWorker(f"\n{done.trace}")
        return Outcome(job.number, job.name, done.value, done.error)

    def stop(self) -> None:
        """Take back what is out: a worker ends what it can."""
        with suppress(Exception):  # also where the scheduler is gone
            self.client.cancel([future for future, _ in self.out.values()], force=True)
            self.client.set_metadata([self.run], None)
        self.out.clear()

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Around words with the scheduler: one that is gone is said in one line."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            if self.client.status == "running" and not _cancelled(error):
                raise
            raise InputError(
                f"{self.address}: expected a Dask scheduler that answers until the end, found it gone: "
                "start the same command again, what is done is kept"
            ) from error


def _cancelled(error: Exception) -> bool:
    return any(kind.__name__ == "CancelledError" for kind in type(error).__mro__)


def _died(job: _Job) -> Outcome[Any]:
    return Outcome(
        job.number,
        job.name,
        error=WorkersDied(
            f"{job.name}: expected a result, found that it ended its worker {DEATHS} times, "
            "as a lack of memory does"
        ),
    )
