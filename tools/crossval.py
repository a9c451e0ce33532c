"""Cross-validation of a bundle: every fold a bundle run of its own, one table of all cases, paired tests."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import torch
from monai.bundle import ConfigParser
from tqdm import tqdm

from tools.errors import InputError
from tools.metrics import compare_runs, read_csv, summarize, summary_markdown
from tools.metrics.page import records
from tools.metrics.summary import GROUPS
from tools.metrics.tables import Row, write_atomically, write_csv, write_json

__all__ = ["assign_folds", "compare_variants", "crossval"]

DEFAULT = "default"
BUNDLES = Path(__file__).resolve().parent.parent / "bundles"


def crossval(
    bundle: str,
    folds: int = 5,
    variant: str | Sequence[str] = DEFAULT,
    jobs: int = 1,
    out: str | None = None,
    processes: int = 1,
    seed: int = 0,
    **overrides: Any,
) -> None:
    """Train and evaluate a bundle on every fold, in processes of their own; then one table of all cases.

    What is finished is not done again, and an interrupted training goes on: start the same command again.

    Args:
        bundle: name of a folder in `bundles`, or path of a bundle.
        folds: number of folds. Those of the datalist are kept if there are as many and no patient is in two;
            else patients are dealt out anew, alike in the share of those with intraventricular blood.
        variant: overlay in `configs/variants`, or several, separated by commas, which are then compared with
            the first of them; "default" is the bundle without overlay.
        jobs: folds at a time; with several GPUs each gets its own.
        out: folder for weights, predictions and tables; default `runs/crossval` in the bundle.
        processes: of each training; more than one trains on as many GPUs (`multi_gpu_train.yaml`).
        seed: of dealing out the patients.
        overrides: every further `--key value` goes to the bundle's configuration.

    Raises:
        InputError: no such bundle or variant, too few patients, or a fold that failed.
    """
    folder = _bundle_folder(bundle)
    variants = [variant] if isinstance(variant, str) else [str(name) for name in variant]
    variants = [part for name in variants for part in name.split(",")]
    root = Path(out).resolve() if out else folder / "runs" / "crossval"
    runs = []
    for name in variants:
        files = _config_files(folder, name)
        datalist = _write_datalist(folder, files, overrides, folds, seed, root / name / "data")
        runs += [
            FoldRun(folder, files, name, fold, root / name, datalist, processes, overrides)
            for fold in range(folds)
        ]
    _run_all(runs, jobs)
    tables = {name: collect(root / name, folds) for name in variants}
    for name, rows in tables.items():
        title = f"{folder.name}, {name}: {folds}-fold cross-validation"
        print("\n" + _report(rows, root / name, title))
    if len(tables) > 1:
        print("\n" + compare_variants(tables, root))
    print(f"tables: {root}")


def assign_folds(items: Sequence[Mapping[str, Any]], folds: int, seed: int = 0) -> list[dict[str, Any]]:
    """The cases, each with its `fold` from 0 to folds - 1; all cases of a patient are in the same.

    Args:
        items: entries of a datalist; `patient` (else `case`, else the file) tells whose they are.

    Raises:
        InputError: fewer patients than folds, or fewer than two folds.
    """
    patients: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        patients.setdefault(str(item.get("patient") or item.get("case") or item["image"]), []).append(item)
    if not 2 <= folds <= len(patients):
        raise InputError(f"folds: expected 2 to {len(patients)}, the number of patients, found {folds}")
    given = {name: {item.get("fold") for item in own} for name, own in patients.items()}
    if all(len(own) == 1 for own in given.values()) and set().union(*given.values()) == set(range(folds)):
        return [dict(item) for item in items]
    names = sorted(patients)
    random.Random(seed).shuffle(names)
    names.sort(key=lambda name: not any(item.get("ivh") for item in patients[name]))
    fold = {name: number % folds for number, name in enumerate(names)}
    return [{**item, "fold": fold[name]} for name in sorted(patients) for item in patients[name]]


@dataclass(frozen=True)
class FoldRun:
    """Training and evaluation of one fold.

    Args:
        bundle: folder of the bundle.
        files: configuration files of the training, relative to it.
        variant: name of the variant.
        fold: number of the fold.
        root: folder of the variant's results.
        datalist: JSON file with the folds.
        processes: of the training.
        overrides: further keys of the configuration.
    """

    bundle: Path
    files: Sequence[str]
    variant: str
    fold: int
    root: Path
    datalist: Path
    processes: int
    overrides: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        return self.root / f"fold_{self.fold}"

    @property
    def parameters(self) -> dict[str, Any]:
        """All that the result depends on: another value of any of them makes the fold anew."""
        texts = [self.datalist.read_bytes(), *((self.bundle / file).read_bytes() for file in self.files)]
        return {
            "fold": self.fold,
            "overrides": {key: str(value) for key, value in sorted(self.overrides.items())},
            "files": hashlib.blake2b(b"\0".join(texts), digest_size=12).hexdigest(),
        }

    def run(self, gpu: str | None, threads: int | None) -> None:
        """Train and evaluate, unless that is done."""
        marker = self.folder / "fold.json"
        found = json.loads(marker.read_text()) if marker.is_file() else {}
        if found.get("parameters") != self.parameters:
            shutil.rmtree(self.folder, ignore_errors=True)
        elif found["finished"]:
            return
        write_json(marker, {"parameters": self.parameters, "finished": False})
        self._bundle_run("training", self.files, self.processes, gpu, threads)
        evaluation = [self.files[0], "configs/evaluate.yaml", *self.files[1:]]
        self._bundle_run("evaluating", evaluation, 1, gpu, threads)
        write_json(marker, {"parameters": self.parameters, "finished": True})

    def _bundle_run(
        self, run_id: str, files: Sequence[str], processes: int, gpu: str | None, threads: int | None
    ) -> None:
        launcher = [sys.executable, "-m"]
        if processes > 1:
            files = [*files, "configs/multi_gpu_train.yaml"]
            launcher += ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
        keys = {
            **self.overrides,
            "dataset_dir": self.datalist.parent,
            "fold": self.fold,
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
                f"{self.variant}, fold {self.fold}: expected {run_id} to succeed, found exit code {code} and "
                f"{last.strip()!r} ({log})"
            )


def collect(root: Path, folds: int) -> list[Row]:
    """Cases of all folds, each with its fold, sorted by case."""
    rows = []
    for fold in range(folds):
        table = read_csv(root / f"fold_{fold}" / "eval" / "metrics" / "per_case.csv")
        rows += [{"case": row["case"], "fold": fold, **row} for row in table]
    return sorted(rows, key=lambda row: str(row["case"]))


def compare_variants(tables: Mapping[str, Sequence[Row]], out: Path) -> str:
    """Paired tests of every variant against the first, all cases and split by IVH: comparison.csv and .md."""
    first, *others = tables
    rows = []
    for other in others:
        for group, belongs in GROUPS.items():
            pair = [[row for row in tables[name] if belongs(row)] for name in (first, other)]
            if len(pair[0]) > 1:
                tests = compare_runs(*pair)
                rows += [{"first": first, "second": other, "cases": group, **test} for test in tests]
    page = "\n".join(["# Variants compared, case by case", "", *records(rows)]) + "\n"
    write_csv(out / "comparison.csv", rows)
    write_atomically(out / "comparison.md", page)
    return page


def _report(rows: Sequence[Row], out: Path, title: str) -> str:
    """Write per_case.csv, summary.json and summary.md; the page."""
    write_csv(out / "per_case.csv", rows)
    summary = summarize([{key: value for key, value in row.items() if key != "fold"} for row in rows])
    write_json(out / "summary.json", summary)
    page = summary_markdown(summary, title)
    write_atomically(out / "summary.md", page)
    return page


def _run_all(runs: Sequence[FoldRun], jobs: int) -> None:
    """Run folds, `jobs` at a time, each on GPUs of its own; the first failure ends what has not begun."""
    gpus = [str(number) for number in range(torch.cuda.device_count())]
    free: Queue[str | None] = Queue()
    for job in range(jobs):
        own = gpus[job * runs[0].processes :][: runs[0].processes]
        free.put(",".join(own) or (gpus[job % len(gpus)] if gpus else None))
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None

    def run(fold: FoldRun) -> None:
        gpu = free.get()
        try:
            fold.run(gpu, threads)
        finally:
            free.put(gpu)

    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(runs), desc="folds", unit="fold") as bar:
        waiting = [pool.submit(run, fold) for fold in runs]
        try:
            for fold in waiting:
                fold.result()
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _bundle_folder(bundle: str) -> Path:
    for folder in (Path(bundle), BUNDLES / bundle):
        if (folder / "configs" / "train.yaml").is_file():
            return folder.resolve()
    raise InputError(f"{bundle}: expected a bundle (a folder with configs/train.yaml), found none")


def _config_files(folder: Path, variant: str) -> list[str]:
    if variant == DEFAULT:
        return ["configs/train.yaml"]
    overlay = f"configs/variants/{variant}.yaml"
    if not (folder / overlay).is_file():
        known = sorted(path.stem for path in (folder / "configs" / "variants").glob("*.yaml"))
        raise InputError(f"variant: expected one of {', '.join([DEFAULT, *known])}, found {variant!r}")
    return ["configs/train.yaml", overlay]


def _write_datalist(
    folder: Path, files: Sequence[str], overrides: Mapping[str, Any], folds: int, seed: int, out: Path
) -> Path:
    """The bundle's training cases with their folds; no test cases, so that folds are what is evaluated."""
    parser = ConfigParser()
    parser.read_config([str(folder / file) for file in files])
    parser.update(
        {
            "bundle_root": str(folder),
            **{key: str(v) if isinstance(v, Path) else v for key, v in overrides.items()},
        }
    )
    cases = assign_folds(parser.get_parsed_content("datalist")["training"], folds, seed)
    return write_json(out / "dataset.json", {"training": cases})
