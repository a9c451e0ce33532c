"""A folder of scans on the nodes of a Slurm cluster: jobs with a worker each, which end after the last case.

    python examples/slurm.py SCANS --out predictions --jobs 16 --partition gpu --gpus 1

Nodes see this Python, the scans and `--out` under the same paths. `--local` starts the same jobs as processes
of this machine, without Slurm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from dask_jobqueue import SLURMCluster
from dask_jobqueue.local import LocalCluster

from headct.cohort.workers import Workers
from headct.predict import predict


def main(
    scans: Annotated[Path, typer.Argument(help="What `headct predict` takes.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("predictions"),
    bundle: Annotated[str, typer.Option(help="Name or folder of a bundle.")] = "se_unet3d",
    jobs: Annotated[int, typer.Option(help="Workers, each a job of Slurm.")] = 4,
    partition: Annotated[str | None, typer.Option(help="Of Slurm.")] = None,
    hours: Annotated[int, typer.Option(help="That a job may take; its case is then done by another.")] = 8,
    cores: Annotated[int, typer.Option(help="Of each job.")] = 4,
    memory: Annotated[str, typer.Option(help="Of each job.")] = "16GB",
    gpus: Annotated[int, typer.Option(help="Of each job: 1, or 0 for none.")] = 0,
    local: Annotated[bool, typer.Option("--local", help="Processes of this machine instead.")] = False,
) -> None:
    """Predict every scan, and end the jobs."""
    worker = ["--nthreads", "1", "--memory-limit", "0"]  # one case at a time; Slurm limits the memory
    worker += ["--resources", f"GPU={gpus}"] if gpus else []
    common = {
        "cores": 1,
        "processes": 1,
        "memory": memory,
        "worker_extra_args": worker,
        "death_timeout": 600,  # a busy node takes its time to start
        "scheduler_options": {"dashboard_address": "127.0.0.1:0"},  # not for all the world
    }
    if local:
        cluster = LocalCluster(**common)
    else:
        cluster = SLURMCluster(
            **common,
            job_cpu=cores,
            queue=partition,
            walltime=f"{hours}:00:00",
            job_script_prologue=[f"export OMP_NUM_THREADS={cores}"],
            job_extra_directives=[f"--gres=gpu:{gpus}"] if gpus else [],
        )
    with cluster:
        cluster.scale(jobs=jobs)
        result = predict(
            scans, bundle, out, jobs=Workers(scheduler=cluster.scheduler_address), say=print, progress=True
        )
    print(result.out / "index.html")
    for failure in result.failures:
        print(f"failed: {failure.message}")
    raise typer.Exit(result.exit_code)


if __name__ == "__main__":
    typer.run(main)
