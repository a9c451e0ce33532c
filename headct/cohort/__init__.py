"""Thousands of cases on several workers: one task per case, on Dask where there is more than one worker.

| module | idea |
|---|---|
| `workers` | where cases run, as a command is asked: in this process, on so many of its own, on a cluster |
| `tasks` | `run_tasks`: each outcome as it comes; `gather`: all values in order. No Dask in this process |
| `client` | the side that hands tasks out; `worker` the side that does them |
| `gpus` | which GPU is whose |
| `progress` | the bar: cases per minute, time left |
| `phantoms` | synthetic heads as tasks |
"""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from headct.cohort.tasks import Outcome, WorkersDied, gather, run_tasks
    from headct.cohort.workers import Workers

__all__ = ["Outcome", "Workers", "WorkersDied", "gather", "run_tasks"]

__getattr__ = lazy_exports(__name__, __file__)
