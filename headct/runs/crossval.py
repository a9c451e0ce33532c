"""Cross-validation of a bundle: every fold a bundle run of its own, one table of all cases, paired tests."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headct.cohort.workers import Workers
from headct.datasets.folds import assign_folds
from headct.runs.bundle_run import GO_ON, BundleRun, has_weights, run_all
from headct.runs.find_bundle import check_keys, config_files, find_bundle, own_copy
from headct.scores.compare import compare_runs
from headct.scores.tables import read_csv
from tools.core.errors import InputError
from tools.core.files import write_text
from tools.core.markdown import records
from tools.core.tables import Row, write_csv, write_json
from tools.data.splits import LEAK_WARNING, SPLITS
from tools.report.page import summary_markdown
from tools.report.summary import GROUPS, summarize

__all__ = [
    "check_same_cases",
    "collect",
    "compare_splits",
    "compare_variants",
    "crossval",
    "fold_runs",
]

DEFAULT = "default"
VALIDATIONS = ("inner", "scored")
OWN_KEYS = ("fold", "ckpt_dir", "output_dir")  # of each fold its own
INNER_FOLDS = 5  # one of them validates: 20 % of the training cases, as in Abramova 2022
SCORED_WARNING = (
    "The epoch was chosen on the fold that is scored (validation: scored), so scores are optimistic."
)

logger = logging.getLogger(__name__)


def crossval(
    bundle: str,
    folds: int = 5,
    variant: str | Sequence[str] = DEFAULT,
    jobs: int | Workers = 1,
    out: str | Path | None = None,
    processes: int = 1,
    seed: int = 0,
    by: str | Sequence[str] = "patient",
    validation: str = "inner",
    **overrides: Any,
) -> None:
    """Train and evaluate a bundle on every fold, in processes of their own; then one table of all cases.

    What is finished is not done again, and an interrupted training goes on: start the same command again.
    Weights that were trained with other settings stay where they are: see
    `headct.runs.bundle_run.BundleRun.check`.

    Args:
        bundle: name of a folder in `bundles`, or path of a bundle.
        folds: number of folds. Those of the datalist are kept if there are as many and no patient is in two;
            else patients are dealt out anew, alike in number, slices and types of hemorrhage.
        variant: overlay in `configs/variants`, or several, separated by commas, which are then compared with
            the first of them; "default" is the bundle without overlay.
        jobs: folds at a time; with several GPUs each gets its own, of those in `CUDA_VISIBLE_DEVICES`. Or
            where they run: workers on other machines see the bundle, the data and `out` under the same paths.
        out: folder for weights, predictions and tables; default `runs/crossval` in the bundle.
        processes: of each training; more than one trains on as many GPUs (`multi_gpu_train.yaml`).
        seed: of dealing out the patients or slices.
        by: "patient", all slices of a patient in one fold; "slice", single slices dealt out alike in their
            types of hemorrhage, as the D-Unet paper does, so that patients leak and scores are optimistic;
            or "patient,slice" for both, side by side. Results by slice go to folders `<variant>_by_slice`.
        validation: what chooses the epoch: "inner", a fifth of each fold's training cases; or "scored", the
            fold that is scored, so that scores are optimistic.
        overrides: every further `--key value` goes to the bundle's configuration.

    Raises:
        InputError: no such bundle or variant, variants with data of their own, keys that are set here, too
            few patients or GPUs, weights of other settings in the folder, or a fold that failed.
    """
    taken = [key for key in OWN_KEYS if key in overrides]
    if taken:
        raise InputError(
            f"{taken[0]}: expected keys but {', '.join(OWN_KEYS)}, of which each fold has its own"
        )
    folder = own_copy(find_bundle(bundle, "configs/train.yaml"))
    variants = [variant] if isinstance(variant, str) else [str(name) for name in variant]
    variants = [part for name in variants for part in name.split(",")]
    splits = [part for split in ([by] if isinstance(by, str) else by) for part in str(split).split(",")]
    if not splits or not set(splits) <= set(SPLITS):
        raise InputError(f"by: expected one or both of {', '.join(SPLITS)}, found {by!r}")
    root = Path(out).resolve() if out else folder / "runs" / "crossval"
    runs = []
    for name in variants:
        files = config_files(folder, [] if name == DEFAULT else [name])
        for split in splits:
            place = root / split_name(name, split)
            runs += fold_runs(
                folder, files, place, folds, seed, processes, overrides, name, split, validation
            )
    for split in splits:
        check_same_cases([root / split_name(name, split) / "data" / "dataset.json" for name in variants])
    run_all(runs, jobs)
    tables = {
        (name, split): collect(root / split_name(name, split), folds) for name in variants for split in splits
    }
    for (name, split), rows in tables.items():
        title = f"{folder.name}, {name}: {folds}-fold cross-validation by {split}"
        print(
            "\n"
            + _report(
                rows,
                root / split_name(name, split),
                title,
                " ".join([LEAK_WARNING] * (split == "slice") + [SCORED_WARNING] * (validation == "scored")),
            )
        )
    for split in splits:
        if len(variants) > 1:
            pairs = {split_name(name, split): tables[name, split] for name in variants}
            print("\n" + compare_variants(pairs, root, split_name("comparison", split)))
    if "slice" in splits:
        print("\n" + compare_splits(tables, root))
    print(f"tables: {root}")


def split_name(variant: str, by: str) -> str:
    """Folder of a variant's results; a split that leaks patients shows in the name."""
    return variant if by == "patient" else f"{variant}_by_{by}"


def fold_runs(
    folder: Path,
    files: Sequence[str],
    root: Path,
    folds: int,
    seed: int = 0,
    processes: int = 1,
    overrides: Mapping[str, Any] | None = None,
    name: str = DEFAULT,
    by: str = "patient",
    validation: str = "inner",
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
        by, validation: see `crossval`.

    Raises:
        InputError: there lie results of more folds, or of folds of other cases, which tables and ensembles
            would take for these; see also `headct.datasets.folds.assign_folds`.
    """
    if validation not in VALIDATIONS:
        raise InputError(f"validation: expected one of {', '.join(VALIDATIONS)}, found {validation!r}")
    if validation == "scored":
        logger.warning(SCORED_WARNING)
    overrides = overrides or {}
    places = [root / f"fold_{fold}" for fold in range(folds)]
    surplus = sorted(set(root.glob("fold_*")) - set(places))
    if surplus:
        raise InputError(f"{surplus[0]}: expected {folds} folds from fold_0 on, found one more: {GO_ON}")
    datalist = root / "data" / "dataset.json"
    cases = {"training": _dealt_cases(folder, files, overrides, folds, seed, by)}
    begun = [place for place in places if has_weights(place)]
    if begun and datalist.is_file() and json.loads(datalist.read_text()) != json.loads(json.dumps(cases)):
        raise InputError(
            f"{root}: expected folds of the same cases, found {begun[0].name} of others, {datalist}: "
            f"go back to those (--dataset-dir, --folds, --seed), {GO_ON}"
        )
    write_json(datalist, cases)
    if "datalist_name" in overrides:  # the list with folds stands in for it
        overrides = {**overrides, "datalist_name": datalist.name}
    if by == "slice":
        overrides = {**overrides, "split": by}  # the bundle's own leave to do so
    runs = []
    for fold, place in enumerate(places):
        own = datalist
        if validation == "inner":
            own = root / "data" / f"fold_{fold}" / datalist.name
            write_json(own, _with_inner_validation(cases["training"], fold, seed, by))
        keys = {**overrides, "dataset_dir": own.parent, "fold": fold}
        runs.append(
            BundleRun(folder, files, place, f"{split_name(name, by)}, fold {fold}", keys, (own,), processes)
        )
    return runs


def _with_inner_validation(
    items: Sequence[Mapping[str, Any]], fold: int, seed: int, by: str
) -> dict[str, list[dict[str, Any]]]:
    """A datalist that tests on a fold, and validates on a fifth of the other cases, which get its number.

    Where one patient is left to train on, the epoch is chosen on the fold that is scored, with a warning.
    """
    scored = [
        {key: value for key, value in item.items() if key != "fold"} for item in items if item["fold"] == fold
    ]
    others = [
        {key: value for key, value in item.items() if key != "fold"} for item in items if item["fold"] != fold
    ]
    owners = {str(item.get("patient") or item.get("case") or item["image"]) for item in others}
    inner = min(INNER_FOLDS, len(owners) if by == "patient" else len(others))
    if inner < 2:  # one patient cannot be divided
        logger.warning(SCORED_WARNING)
        return {"training": [dict(item) for item in items]}
    dealt = assign_folds(others, inner, seed, by)
    return {"training": [{**item, "fold": item["fold"] + fold} for item in dealt], "testing": scored}


def check_same_cases(datalists: Sequence[Path]) -> None:
    """Check that cases may be paired by their names: in all datalists they are the same images and labels.

    Raises:
        InputError: one of them has other cases than the first, or other files under the name of a case.
    """
    first, *others = [
        {item.get("case", item["image"]): (item["image"], item.get("label")) for item in cases}
        for cases in (json.loads(path.read_text())["training"] for path in datalists)
    ]
    for path, cases in zip(datalists[1:], others, strict=True):
        different = sorted(name for name in {**first, **cases} if first.get(name) != cases.get(name))
        if different:
            raise InputError(
                f"{path}: expected the cases of {datalists[0]}, to compare them one by one, found another "
                f"{different[0]}: name one --dataset-dir for all variants"
            )


def collect(root: Path, folds: int) -> list[Row]:
    """Cases of all folds, each with its fold, sorted by case."""
    rows = []
    for fold in range(folds):
        table = read_csv(root / f"fold_{fold}" / "eval" / "metrics" / "per_case.csv")
        rows += [{"case": row["case"], "fold": fold, **row} for row in table]
    return sorted(rows, key=lambda row: str(row["case"]))


def compare_splits(tables: Mapping[tuple[str, str], Sequence[Row]], out: Path) -> str:
    """Every variant under every split in one table, and what the split does to the scores: splits.md.

    Args:
        tables: rows of cases by variant and split.
        out: folder to write to.
    """
    lines = []
    for (name, split), rows in tables.items():
        summary = summarize(rows)["all"]
        lines.append(
            {
                "variant": name,
                "split by": split,
                "cases": len(rows),
                **{score: summary["columns"][score]["mean"] for score in ("dice", "iou")},
                **{
                    f"{score}, with hemorrhage": summary["with_lesion"].get(score, {}).get("mean")
                    for score in ("dice", "iou")
                },
                "dice, pooled": summary["pooled"]["dice"],
            }
        )
    page = "\n".join(["# Splits compared", "", *records(lines), "", LEAK_WARNING]) + "\n"
    write_text(out / "splits.md", page)
    return page


def compare_variants(tables: Mapping[str, Sequence[Row]], out: Path, file_name: str = "comparison") -> str:
    """Paired tests of every variant against the first, all cases and split by IVH: comparison.csv and .md."""
    first, *others = tables
    rows = []
    for other in others:
        for group, belongs in GROUPS.items():
            ours, theirs = ([row for row in tables[name] if belongs(row)] for name in (first, other))
            if len(ours) > 1:
                tests = compare_runs(ours, theirs)
                rows += [{"first": first, "second": other, "cases": group, **test} for test in tests]
    page = "\n".join(["# Variants compared, case by case", "", *records(rows)]) + "\n"
    write_csv(out / f"{file_name}.csv", rows)
    write_text(out / f"{file_name}.md", page)
    return page


def _report(rows: Sequence[Row], out: Path, title: str, remark: str = "") -> str:
    """Write per_case.csv, summary.json and summary.md; the page."""
    write_csv(out / "per_case.csv", rows)
    summary = summarize(rows, classes=[key.removeprefix("tp_") for key in rows[0] if key.startswith("tp_")])
    write_json(out / "summary.json", summary)
    page = summary_markdown(summary, title) + (f"\n{remark}\n" if remark else "")
    write_text(out / "summary.md", page)
    return page


def _dealt_cases(
    folder: Path, files: Sequence[str], overrides: Mapping[str, Any], folds: int, seed: int, by: str
) -> list[dict[str, Any]]:
    """The bundle's training cases with their folds; no test cases, so that folds are what is evaluated."""
    parser = check_keys(folder, files, {"bundle_root": folder, **overrides})
    # the list before its folds are checked, where a bundle does: they are dealt anew
    key = "datalist#datalist" if "datalist#datalist" in parser else "datalist"
    return assign_folds(parser.get_parsed_content(key)["training"], folds, seed, by)
