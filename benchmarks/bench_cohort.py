"""Cases per minute of `predict` in one process and on 1 and 2 workers of one thread each, and their memory.

    python benchmarks/bench_cohort.py [--cases 200] [--out FILE.json]

Small synthetic heads. Cases per minute are counted from the first result on, so that imports and loading the
networks are left out. Wall time depends on what else the machine does; processor seconds per case hardly do:
where two workers spend on a case what one process does, two free cores give twice the cases. Memory is that
of the command, which holds the scheduler, and of the largest worker: after a quarter of the cases, and at the
end.
"""

from __future__ import annotations

import os

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
os.environ.update(dict.fromkeys(THREADS, "1"))  # before torch is imported

import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import psutil  # noqa: E402
import torch  # noqa: E402
import typer  # noqa: E402
from common import report  # noqa: E402

from headct.cohort.workers import Workers  # noqa: E402
from headct.predict import predict  # noqa: E402
from tools.phantom import write_phantoms  # noqa: E402

MIB = 2**20


def main(cases: int = 200, bundle: str = "se_unet3d", out: str | None = None) -> None:
    """Run it, and print a row for each number of workers.

    Args:
        cases: number of scans.
        bundle: that predicts them.
        out: JSON file to write.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write_phantoms(root / "data", cases, shape=(64, 64, 12), spacing=(3.5, 3.5, 13.0))
        rows = []
        for name, jobs in (("one process", 1), ("1 worker", None), ("2 workers", 2)):
            rows.append({"": name, **run(root / "data" / "images", root / name, bundle, jobs, cases)})
            first = rows[0]["cases/min"]
            rows[-1]["times one process"] = rows[-1]["cases/min"] / first
            print(rows[-1], flush=True)
    report(f"predict, {bundle}, {cases} heads of 64 x 64 x 12", rows, out)


def run(scans: Path, out: Path, bundle: str, jobs: int | None, cases: int) -> dict[str, float]:
    """Predict them all; what it took. None is one worker of a cluster, as `--jobs 1` needs none."""
    me = psutil.Process()
    times: list[float] = []
    memory: list[tuple[float, float]] = []
    spent: list[float] = []

    def note(line: str) -> None:
        workers = [p for p in me.children(recursive=True) if p.memory_info().rss > 150 * MIB]
        times.append(time.perf_counter())
        memory.append(
            (me.memory_info().rss / MIB, max((p.memory_info().rss / MIB for p in workers), default=0))
        )
        spent.append(sum(sum(p.cpu_times()[:2]) for p in [me, *workers]))

    if jobs is None:
        from distributed import LocalCluster

        with LocalCluster(
            n_workers=1, threads_per_worker=1, memory_limit=0, dashboard_address=None
        ) as cluster:
            predict(scans, bundle, out, jobs=Workers(scheduler=cluster.scheduler_address), say=note)
    else:
        predict(scans, bundle, out, jobs=jobs, say=note)
    start = max(1, jobs or 1)  # each worker has done its first
    quarter = cases // 4
    return {
        "cases/min": 60 * (cases - start) / (times[-1] - times[start - 1]),
        "CPU s/case": (spent[-1] - spent[start - 1]) / (cases - start),
        "command MiB, 1/4": memory[quarter][0],
        "command MiB, end": memory[-1][0],
        "worker MiB, 1/4": memory[quarter][1],
        "worker MiB, end": memory[-1][1],
    }


if __name__ == "__main__":
    typer.run(main)
