"""One configuration of a bundle trained and evaluated, in processes of its own; what is finished is kept."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Event
from typing import Any

import torch
from tqdm import tqdm

from tools.errors import InputError
from tools.metrics.tables import Row, read_csv, write_json

__all__ = ["GO_ON", "BundleRun", "assign_gpus", "bundle_folder", "config_files", "last_error", "run_all"]

BUNDLES = Path(__file__).resolve().parent.parent / "bundles"
EVALUATION = "configs/evaluate.yaml"
PARALLEL = "configs/multi_gpu_train.yaml"
GO_ON = "remove that folder, or choose another (--out, of `reproduce` --work_dir)"

_ERROR = re.compile(r"^(?:\[rank\d+\]: )?(error: .*|(?:\w+\.)*\w*(?:Error|Exception): .*\S)")
_WRAPPERS = ("RuntimeError: Failed to instantiate", "RuntimeError: applying transform")


@dataclass(frozen=True)
class BundleRun:
    """Training and evaluation of one configuration: `monai.bundle run training`, then `evaluating`.

    Args:
        bundle: folder of the bundle.
        files: configuration files of the training, relative to it (`config_files`).
        folder: where weights (`models`), scores and predictions (`eval`) and the logs go.
        name: what messages call it.
        overrides: keys of the configuration; `ckpt_dir` and `output_dir` are set here.
        inputs: further files on whose content the result depends, such as a datalist.
        processes: of the training; more than one uses `configs/multi_gpu_train.yaml`.
    """

    bundle: Path
    files: Sequence[str]
    folder: Path
    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[Path] = ()
    processes: int = 1

    @property
    def parameters(self) -> dict[str, str]:
        """What the weights depend on, by name: options as `--key`, the bundle's files by their content.

        Not among them: `tools` itself, and what a file or an option names, such as the images of a datalist.
        """
        files = {file: self.bundle / file for file in [*self.files, *[PARALLEL] * (self.processes > 1)]}
        files |= {str(path.relative_to(self.bundle)): path for path in self.bundle.glob("scripts/**/*.py")}
        files |= {path.name: path for path in self.inputs}
        return {
            **{f"--{key}": str(value) for key, value in sorted(self.overrides.items())},
            **{name: _digest(path) for name, path in sorted(files.items())},
            "processes": str(self.processes),
        }

    @property
    def finished(self) -> bool:
        """Whether it was run to its end with these parameters."""
        return self._trained() and self._marker().get("evaluated_with") == _digest(self.bundle / EVALUATION)

    def check(self) -> None:
        """Check that no weights of other parameters lie in the folder, which this run would replace.

        Raises:
            InputError: they do; the message says what is different, and how to go on.
        """
        then, now = self._marker().get("trained_with"), self.parameters
        if then == now or not any((self.folder / "models").glob("*")):
            return
        if then is None:
            raise InputError(
                f"{self.folder}: expected no weights or those of {self.name}, found some without a record of "
                f"their settings in run.json: {GO_ON}"
            )
        different = [
            f"{key} {then.get(key, 'unset')}, now {now.get(key, 'unset')}"
            if key.startswith("--") or key == "processes"
            else f"another {key}"
            for key in {**then, **now}
            if then.get(key) != now.get(key)
        ]
        raise InputError(
            f"{self.folder}: expected weights of the same settings, found some that were trained with "
            f"{'; '.join(different)}: go back to that, {GO_ON}"
        )

    def run(self, gpu: str | None = None, threads: int | None = None) -> None:
        """Train and evaluate, but what is done of it; an interrupted training goes on.

        Args:
            gpu: number of the GPU, or several separated by commas; None leaves all visible.
            threads: of each process; None leaves it to torch.

        Raises:
            InputError: see `check`; or training or evaluation failed: the message ends with the log's error.
        """
        if self.finished:
            return
        self.check()
        # as they are now: a file that changes while it runs is another one next time
        record = {"trained_with": self.parameters, "trained": True}
        digest = _digest(self.bundle / EVALUATION)
        if not self._trained():
            write_json(self._marker_path, {**record, "trained": False})
            self._bundle_run("training", self.files, self.processes, gpu, threads)
            write_json(self._marker_path, record)
        self._bundle_run("evaluating", [self.files[0], EVALUATION, *self.files[1:]], 1, gpu, threads)
        write_json(self._marker_path, {**record, "evaluated_with": digest})

    def rows(self) -> list[Row]:
        """The evaluation's table, one row per case."""
        return read_csv(self.folder / "eval" / "metrics" / "per_case.csv")

    @property
    def _marker_path(self) -> Path:
        return self.folder / "run.json"

    def _marker(self) -> dict[str, Any]:
        return json.loads(self._marker_path.read_text()) if self._marker_path.is_file() else {}

    def _trained(self) -> bool:
        marker = self._marker()
        return marker.get("trained", False) and marker["trained_with"] == self.parameters

    def _bundle_run(
        self, run_id: str, files: Sequence[str], processes: int, gpu: str | None, threads: int | None
    ) -> None:
        launcher = [sys.executable, "-m"]
        if processes > 1:
            files = [*files, PARALLEL]
            launcher += ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
        keys = {
            **self.overrides,
            "ckpt_dir": self.folder / "models",
            "output_dir": self.folder / "eval",
        }
        command = [*launcher, "monai.bundle", "run", run_id, "--config_file", str(list(files))]
        command += [part for key, value in keys.items() for part in (f"--{key}", str(value))]
        environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})}
        if threads:
            environment["OMP_NUM_THREADS"] = str(threads)
        log = self.folder / f"{run_id}.log"
        with log.open("w") as stream:
            code = subprocess.run(
                command, cwd=self.bundle, env=environment, stdout=stream, stderr=subprocess.STDOUT
            ).returncode
        if code:
            raise InputError(
                f"{self.name}: expected {run_id} to succeed, found exit code {code} and "
                f"{last_error(log.read_text())!r} ({log})"
            )


def last_error(output: str) -> str:
    """The line of a failed process's output that says why.

    MONAI wraps an error in others, and ends with a hint that is the same for all; torchrun adds a summary,
    and processes that lost their first one errors of their own. What a user needs is before.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [match[1] for match in map(_ERROR.match, lines) if match and not match[1].startswith(_WRAPPERS)]
    plain = [line for line in errors if line.startswith("error: ")]
    return next(reversed(plain or errors or lines), "nothing")


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


def run_all(runs: Sequence[BundleRun], jobs: int = 1) -> None:
    """Run them, `jobs` at a time, each on GPUs of its own; the first failure ends what has not begun.

    Raises:
        InputError: before anything is run, if one of them would replace weights (`BundleRun.check`) or there
            are too few GPUs; or one failed.
    """
    for one in runs:
        one.check()
    gpus = visible_gpus(os.environ.get("CUDA_VISIBLE_DEVICES", ""), torch.cuda.device_count())
    free: Queue[str | None] = Queue()
    for gpu in assign_gpus(gpus, min(jobs, len(runs)), max(one.processes for one in runs)):
        free.put(gpu)
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None
    failed = Event()  # else a job that is free takes the next run before the failure is known here

    def run(one: BundleRun) -> None:
        gpu = free.get()
        try:
            if not failed.is_set():
                one.run(gpu, threads)
        except BaseException:
            failed.set()
            raise
        finally:
            free.put(gpu)

    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(runs), desc="runs", unit="run") as bar:
        waiting = [pool.submit(run, one) for one in runs]
        try:
            for one in waiting:
                one.result()
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=12).hexdigest()


def bundle_folder(bundle: str | Path) -> Path:
    """Folder of a bundle, given its path or its name in `bundles`.

    Raises:
        InputError: there is no such bundle.
    """
    for folder in (Path(bundle), BUNDLES / bundle):
        if (folder / "configs" / "train.yaml").is_file():
            return folder.resolve()
    raise InputError(f"{bundle}: expected a bundle (a folder with configs/train.yaml), found none")


def config_files(folder: Path, overlays: Sequence[str] = ()) -> list[str]:
    """`train.yaml` and overlays of `configs/variants` by name, relative to the bundle.

    Raises:
        InputError: there is no such overlay.
    """
    files = ["configs/train.yaml"]
    for name in overlays:
        overlay = f"configs/variants/{name}.yaml"
        if not (folder / overlay).is_file():
            known = sorted(path.stem for path in (folder / "configs" / "variants").glob("*.yaml"))
            raise InputError(f"variant: expected one of {', '.join(['default', *known])}, found {name!r}")
        files.append(overlay)
    return files
