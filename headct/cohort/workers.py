"""Where the cases of a command run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tools.core.errors import InputError

__all__ = ["Workers"]


@dataclass(frozen=True)
class Workers:
    """In this process, on processes of its own, or on a Dask cluster that runs already.

    Args:
        jobs: processes of this machine that are started for the command; 1 is this process alone.
        scheduler: address of a Dask scheduler, such as `tcp://host:8786`.
        scheduler_file: file in which a Dask scheduler has written where it is (`dask scheduler
            --scheduler-file`).

    Raises:
        InputError: fewer than 1 job, two of the three at once, or no such file.
    """

    jobs: int = 1
    scheduler: str | None = None
    scheduler_file: Path | None = None

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise InputError(f"jobs: expected 1 or more, found {self.jobs}")
        given = {
            "jobs": None if self.jobs == 1 else self.jobs,
            "scheduler": self.scheduler,
            "scheduler-file": self.scheduler_file,
        }
        names = [name for name, value in given.items() if value is not None]
        if len(names) > 1:
            raise InputError(f"{', '.join(names)}: expected one of them, found {len(names)}")
        if self.scheduler_file is not None and not Path(self.scheduler_file).is_file():
            raise InputError(
                f"{self.scheduler_file}: expected the file of a Dask scheduler, found nothing there: "
                f"start one with `dask scheduler --scheduler-file {self.scheduler_file}`"
            )

    @classmethod
    def of(cls, jobs: int | Workers) -> Workers:
        """The same, or as many processes as the number says."""
        return jobs if isinstance(jobs, Workers) else cls(jobs)

    @property
    def elsewhere(self) -> bool:
        """Whether they run already, perhaps on other machines."""
        return self.scheduler is not None or self.scheduler_file is not None

    def in_process(self, tasks: int) -> bool:
        """Whether so many tasks are done here, one after the other."""
        return not self.elsewhere and min(self.jobs, tasks) < 2

    @property
    def address(self) -> str:
        """What messages call the cluster."""
        return str(self.scheduler or self.scheduler_file or f"{self.jobs} processes")
