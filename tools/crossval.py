"""Cross-validation of a bundle: every fold a bundle run of its own, one table of all cases, paired tests."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from tools.bundle_run import BundleRun, bundle_folder, config_files, run_all
from tools.errors import InputError
from tools.metrics import compare_runs, read_csv, summarize, summary_markdown
from tools.metrics.page import records
from tools.metrics.summary import GROUPS
from tools.metrics.tables import Row, write_atomically, write_csv, write_json

__all__ = ["assign_folds", "collect", "compare_variants", "crossval", "fold_runs"]

DEFAULT = "default"


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
    folder = bundle_folder(bundle)
    variants = [variant] if isinstance(variant, str) else [str(name) for name in variant]
    variants = [part for name in variants for part in name.split(",")]
    root = Path(out).resolve() if out else folder / "runs" / "crossval"
    runs = []
    for name in variants:
        files = config_files(folder, [] if name == DEFAULT else [name])
        runs += fold_runs(folder, files, root / name, folds, seed, processes, overrides, name)
    run_all(runs, jobs)
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


def fold_runs(
    folder: Path,
    files: Sequence[str],
    root: Path,
    folds: int,
    seed: int = 0,
    processes: int = 1,
    overrides: Mapping[str, Any] | None = None,
    name: str = DEFAULT,
) -> list[BundleRun]:
    """The runs of a cross-validation: `run_all` runs them, `collect` reads what they leave.

    Args:
        folder: of the bundle.
        files: configuration files of the training, see `config_files`.
        root: folder for results, `fold_0` and so on; the datalist with folds goes to `root/data`.
        folds: number of folds.
        seed: of dealing out the patients.
        processes: of each training.
        overrides: keys of the configuration.
        name: what messages call the configuration.
    """
    overrides = overrides or {}
    datalist = _write_datalist(folder, files, overrides, folds, seed, root / "data")
    return [
        BundleRun(
            folder,
            files,
            root / f"fold_{fold}",
            f"{name}, fold {fold}",
            {**overrides, "dataset_dir": datalist.parent, "fold": fold},
            (datalist,),
            processes,
        )
        for fold in range(folds)
    ]


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
