"""Which GPU is whose."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tools.core.errors import InputError

__all__ = ["assign_gpus", "gpus_of_jobs", "visible_gpus"]


def gpus_of_jobs(jobs: int, each: int = 1) -> list[str]:
    """`CUDA_VISIBLE_DEVICES` of each job on this machine; empty where it has no GPU.

    Args:
        jobs: at a time.
        each: GPUs of a job.

    Raises:
        InputError: see `assign_gpus`.
    """
    import torch

    gpus = visible_gpus(os.environ.get("CUDA_VISIBLE_DEVICES", ""), torch.cuda.device_count())
    return [gpu for gpu in assign_gpus(gpus, jobs, each) if gpu is not None]


def assign_gpus(gpus: Sequence[str], jobs: int, processes: int = 1) -> list[str | None]:
    """`CUDA_VISIBLE_DEVICES` of each job.

    Args:
        gpus: ids of those that may be used; none leaves every job on the CPU, `[None, None, ...]`.
        jobs: at a time. Those of one process share GPUs if there are more of them.
        processes: of each job, each on a GPU of its own.

    Raises:
        InputError: several processes each, and fewer GPUs than that takes.
    """
    if jobs < 1 or processes < 1:
        raise InputError(f"jobs, processes: expected 1 or more of each, found {jobs} and {processes}")
    if not gpus:
        return [None] * jobs
    if processes == 1:
        return [gpus[job % len(gpus)] for job in range(jobs)]
    if jobs * processes > len(gpus):
        raise InputError(
            f"processes: expected a GPU for each, {jobs} x {processes}, found {len(gpus)} ({','.join(gpus)})"
        )
    return [",".join(gpus[job * processes :][:processes]) for job in range(jobs)]


def visible_gpus(variable: str, count: int) -> list[str]:
    """Ids of the GPUs that a process may use.

    Args:
        variable: its `CUDA_VISIBLE_DEVICES`, empty if it has none.
        count: GPUs that it sees; CUDA leaves out what follows an id that it does not know.
    """
    given = [part.strip() for part in variable.split(",") if part.strip()]
    return given[:count] or [str(number) for number in range(count)]
