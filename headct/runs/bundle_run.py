"""One configuration of a bundle trained and evaluated, in processes of its own; what is finished is kept."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from headct.cohort.gpus import gpus_of_jobs
from headct.cohort.progress import CaseBar
from headct.cohort.tasks import Need, gather
from headct.cohort.workers import Workers
from headct.runs.find_bundle import check_keys
from headct.runs.leash import run_on_leash, wait_for_end
from headct.scores.tables import read_csv
from tools.core.errors import InputError
from tools.core.tables import Row, write_json

__all__ = ["GO_ON", "BundleRun", "has_weights", "last_error", "run_all"]

EVALUATION = "configs/evaluate.yaml"
PARALLEL = "configs/multi_gpu_train.yaml"
GO_ON = "remove that folder, or choose another (--out, of `reproduce` --work-dir)"

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
        """Check the keys, and that no weights of other parameters lie in the folder, which would be replaced.

        Raises:
            InputError: the configuration has no such key; or there are such weights: the message says what is
                different, and how to go on.
        """
        check_keys(self.bundle, self.files, self.overrides)
        then, now = self._marker().get("trained_with"), self.parameters
        if then == now or not has_weights(self.folder):
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

    def run(self, gpu: str | None = None, unwanted: Callable[[], bool] | None = None) -> None:
        """Train and evaluate, but what is done of it; an interrupted training goes on.

        Args:
            gpu: number of the GPU, or several separated by commas; None leaves all visible.
            unwanted: says whether nobody waits for it any more, which ends it; None never does.

        Raises:
            InputError: see `check`; or training or evaluation failed: the message ends with the log's error.
        """
        if self.finished:
            return
        self.check()
        # as they are now: a file that changes while it runs is another one next time
        record = {"trained_with": self.parameters, "trained": True}
        digest = _digest(self.bundle / EVALUATION)
        took = self._marker().get("seconds", {})
        if not self._trained():
            write_json(self._marker_path, {**record, "trained": False})
            start = time.monotonic()
            self._train(gpu, unwanted)
            took = {"training": round(time.monotonic() - start, 1)}
            write_json(self._marker_path, {**record, "seconds": took})
        start = time.monotonic()
        self._evaluate(self.folder, self._keys, gpu, unwanted)
        took = {**took, "evaluating": round(time.monotonic() - start, 1)}
        write_json(self._marker_path, {**record, "evaluated_with": digest, "seconds": took})

    def score_again(self, name: str, **keys: Any) -> Path:
        """Evaluate the weights once more, with another checkpoint or on other data, unless that is done.

        Args:
            name: of the folder of the scores, below the run's own.
            keys: of the configuration, such as `ckpt_path` or `dataset_dir`.

        Returns:
            that folder.

        Raises:
            InputError: the evaluation failed; the message ends with its error.
        """
        out = self.folder / name
        marker = out / "run.json"
        record = {
            "trained_with": self.parameters,
            "evaluated_with": _digest(self.bundle / EVALUATION),
            "keys": {key: str(value) for key, value in keys.items()},
        }
        if not marker.is_file() or json.loads(marker.read_text()) != record:
            marker.unlink(missing_ok=True)
            self._evaluate(out, {**self._keys, "output_dir": out, **keys})
            write_json(marker, record)
        return out

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

    @property
    def _keys(self) -> dict[str, Any]:
        return {**self.overrides, "ckpt_dir": self.folder / "models", "output_dir": self.folder / "eval"}

    def _train(self, gpu: str | None, unwanted: Callable[[], bool] | None) -> None:
        module, files = ["monai.bundle"], list(self.files)
        if self.processes > 1:
            module = [
                "torch.distributed.run",
                "--standalone",
                f"--nproc_per_node={self.processes}",
                "-m",
                *module,
            ]
            files.append(PARALLEL)
        self._execute(module, "training", files, self._keys, self.folder, gpu, unwanted)

    def _evaluate(
        self,
        log_dir: Path,
        keys: Mapping[str, Any],
        gpu: str | None = None,
        unwanted: Callable[[], bool] | None = None,
    ) -> None:
        files = [self.files[0], EVALUATION, *self.files[1:]]
        self._execute(["monai.bundle"], "evaluating", files, keys, log_dir, gpu, unwanted)

    def _execute(
        self,
        module: Sequence[str],
        run_id: str,
        files: Sequence[str],
        keys: Mapping[str, Any],
        log_dir: Path,
        gpu: str | None,
        unwanted: Callable[[], bool] | None,
    ) -> None:
        """`python -m MODULE run RUN_ID` in the bundle's folder; what it prints goes to `RUN_ID.log`."""
        command = [sys.executable, "-m", *module, "run", run_id, "--config_file", str(list(files))]
        for key, value in keys.items():
            command += [f"--{key}", "$None" if value is None else str(value)]  # None would be left out
        environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})}
        log_dir.mkdir(parents=True, exist_ok=True)
        log = log_dir / f"{run_id}.log"
        with log.open("w") as stream:
            code = run_on_leash(command, self.folder, self.bundle, environment, stream, unwanted)
        if code:
            said = last_error(log.read_text("utf-8", "replace"))  # a library in C may print any bytes
            raise InputError(
                f"{self.name}: expected {run_id} to succeed, found exit code {code} and {said!r} ({log})"
            )


def has_weights(folder: Path) -> bool:
    """Whether a training left weights or a state to go on with in a run's folder.

    Hidden files are none, nor `tmp...`, Ignite's unfinished ones: a training that was killed leaves these.
    """
    names = [file.name for file in (folder / "models").glob("*")]
    unfinished = [name for name in names if name.startswith("tmp") and "." not in name]
    return any(not name.startswith(".") and name not in unfinished for name in names)


def last_error(output: str) -> str:
    """The line of a failed process's output that says why.

    MONAI wraps an error in others, and ends with a hint that is the same for all; torchrun adds a summary,
    and processes that lost their first one errors of their own. What a user needs is before.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [match[1] for match in map(_ERROR.match, lines) if match and not match[1].startswith(_WRAPPERS)]
    plain = [line for line in errors if line.startswith("error: ")]
    return next(reversed(plain or errors or lines), "nothing")


def run_all(runs: Sequence[BundleRun], jobs: int | Workers = 1) -> None:
    """Run them, `jobs` at a time, each on GPUs of its own; the first failure ends what has not begun.

    Raises:
        InputError: before anything is run, if one of them would replace weights (`BundleRun.check`) or there
            are too few GPUs; or one failed.
    """
    workers = Workers.of(jobs)
    for one in runs:
        one.check()
    processes = max(one.processes for one in runs)
    if not workers.elsewhere:  # before anything is started
        gpus = gpus_of_jobs(min(workers.jobs, len(runs)), processes)
        workers = Workers(min(workers.jobs, len(runs)))
    tasks = [(one.name, one) for one in runs]
    bar = CaseBar(len(runs), "runs", "run")
    try:
        with bar:
            if workers.in_process(len(runs)):
                run = partial(_run_here, gpu=gpus[0] if gpus else None)
                gather(run, tasks, workers, done=lambda outcome: bar.update())
            else:
                need = Need(gpus=processes, alone=False)
                gather(_run_on_worker, tasks, workers, need, lambda outcome: bar.update())
    except BaseException:
        wait_for_end([one.folder for one in runs])  # what runs does not outlive the command
        raise


def _run_here(one: BundleRun, gpu: str | None) -> None:
    one.run(gpu)


def _run_on_worker(one: BundleRun) -> None:
    """On a Dask worker, whose environment says which GPUs and threads."""
    from headct.cohort.worker import unwanted

    one.run(unwanted=unwanted())


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=12).hexdigest()
