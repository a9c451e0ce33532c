"""Synthetic heads on several workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headct.cohort.progress import CaseBar
from headct.cohort.tasks import Need, gather
from headct.cohort.workers import Workers
from tools.phantom.writer import PhantomMaker, write_phantoms

__all__ = ["write_phantoms_on"]


def write_phantoms_on(workers: Workers, out: str | Path, device: str = "cpu", **options: Any) -> Path:
    """`tools.phantom.write_phantoms`, one task per case.

    Args:
        workers: where they run; they see `out` under the same path.
        out, device, options: see there.

    Raises:
        InputError: see there; or a case whose worker died each time.
    """
    need = Need(gpus=int(device.startswith("cuda")), pin=device == "cuda")

    def each(make: PhantomMaker, cases: int) -> list[dict[str, Any]]:
        tasks = ((f"case_{index:03d}", index) for index in range(cases))
        with CaseBar(cases, make.title) as bar:
            return gather(make, tasks, workers, need, lambda outcome: bar.update())

    if workers.elsewhere:
        out = Path(out).absolute()
    return write_phantoms(out, device=device, each=each, **options)
