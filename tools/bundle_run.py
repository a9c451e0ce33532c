"""One configuration of a bundle trained and evaluated, in processes of its own; what is finished is kept."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import Any

import torch
from tqdm import tqdm

from tools.errors import InputError
from tools.metrics.tables import Row, read_csv, write_json

__all__ = ["BundleRun", "bundle_folder", "config_files", "run_all"]

BUNDLES = Path(__file__).resolve().parent.parent / "bundles"


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
    def parameters(self) -> dict[str, Any]:
        """All that the result depends on: another value of any of them makes the run anew."""
        files = [*self.inputs, *(self.bundle / file for file in self.files)]
        return {
            "overrides": {key: str(value) for key, value in sorted(self.overrides.items())},
            "files": hashlib.blake2b(
                b"\0".join(file.read_bytes() for file in files), digest_size=12
            ).hexdigest(),
        }

    @property
    def finished(self) -> bool:
        """Whether it was run to its end with these parameters."""
        return self._kept() and self._marker()["finished"]

    def run(self, gpu: str | None = None, threads: int | None = None) -> None:
        """Train and evaluate, unless that is done; an interrupted training goes on.

        Args:
            gpu: number of the GPU, or several separated by commas; None leaves all visible.
            threads: of each process; None leaves it to torch.

        Raises:
            InputError: training or evaluation failed; the message ends with the last line of the log.
        """
        if self.finished:
            return
        if not self._kept():
            shutil.rmtree(self.folder, ignore_errors=True)
        write_json(self.folder / "run.json", {"parameters": self.parameters, "finished": False})
        self._bundle_run("training", self.files, self.processes, gpu, threads)
        evaluation = [self.files[0], "configs/evaluate.yaml", *self.files[1:]]
        self._bundle_run("evaluating", evaluation, 1, gpu, threads)
        write_json(self.folder / "run.json", {"parameters": self.parameters, "finished": True})

    def rows(self) -> list[Row]:
        """The evaluation's table, one row per case."""
        return read_csv(self.folder / "eval" / "metrics" / "per_case.csv")

    def _marker(self) -> dict[str, Any]:
        path = self.folder / "run.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def _kept(self) -> bool:
        return self._marker().get("parameters") == self.parameters

    def _bundle_run(
        self, run_id: str, files: Sequence[str], processes: int, gpu: str | None, threads: int | None
    ) -> None:
        launcher = [sys.executable, "-m"]
        if processes > 1:
            files = [*files, "configs/multi_gpu_train.yaml"]
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
            last = next((line for line in reversed(log.read_text().splitlines()) if line.strip()), "nothing")
            raise InputError(
                f"{self.name}: expected {run_id} to succeed, found exit code {code} and {last.strip()!r} "
                f"({log})"
            )


def run_all(runs: Sequence[BundleRun], jobs: int = 1) -> None:
    """Run them, `jobs` at a time, each on GPUs of its own; the first failure ends what has not begun."""
    gpus = [str(number) for number in range(torch.cuda.device_count())]
    free: Queue[str | None] = Queue()
    for job in range(jobs):
        own = gpus[job * runs[0].processes :][: runs[0].processes]
        free.put(",".join(own) or (gpus[job % len(gpus)] if gpus else None))
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None

    def run(one: BundleRun) -> None:
        gpu = free.get()
        try:
            one.run(gpu, threads)
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
