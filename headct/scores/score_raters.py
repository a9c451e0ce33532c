"""`headct score folder --rules mbhseg2025`: predictions scored against every rater."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from headct.scores.grids import on_grid_of, read_label_map
from headct.scores.raters import COLUMNS, rater_files, set_scores
from tools.core.classes import CLASS_VALUES
from tools.core.errors import InputError
from tools.core.files import absolute, write_text
from tools.core.markdown import records
from tools.core.names import case_name, is_nifti
from tools.core.tables import Row, write_csv, write_json
from tools.data.entries import read_datalist
from tools.report.summary import column_statistics

TITLE = "Scores by the rules of mbhseg2025"


class RaterScores(dict):
    """Means and standard deviations by column; printed, a table."""

    def __str__(self) -> str:
        rows = [{"metric": name, **values} for name, values in self["columns"].items()]
        return f"# {TITLE}\n\n{self['n']} cases\n\n" + "\n".join(records(rows)) + "\n"


def score_raters(
    pred: Path,
    truth: Path,
    out: str | Path | None = None,
    allow_missing: bool = False,
    classes: Mapping[int, str] | None = None,
    on_mismatch: str = "error",
    progress: bool = True,
) -> RaterScores:
    """Score predictions against all raters of each case.

    Args:
        pred: CASE.nii.gz, or CASE/ with several predictions, which are scored as a set.
        truth: folder CASE/label_annot_RATER.nii.gz, or a datalist whose entries have `raters` (and
            `case`, else the name of the image).
        out: folder for per_case.csv, summary.json and summary.md; None writes nothing.
        allow_missing: score the cases that both have.
        classes: names of class values to score besides any hemorrhage; default: the five types, where the
            raters' masks have several values.
        on_mismatch: see `headct.scores.score.score`.
        progress: show a progress bar.

    Raises:
        InputError: no raters, no predictions, missing partners, other grids.
    """
    truths, preds = _raters(truth), _predictions(pred)
    alone = {"truth": sorted(set(truths) - set(preds)), "pred": sorted(set(preds) - set(truths))}
    cases = sorted(set(truths) & set(preds))
    if not cases or (any(alone.values()) and not allow_missing):
        raise InputError(
            f"{pred}: expected one prediction for each case of {truth}, found {len(alone['truth'])} cases "
            f"without prediction {alone['truth'][:5]} and {len(alone['pred'])} predictions without case "
            f"{alone['pred'][:5]}"
        )
    named = classes or {value: name for name, value in CLASS_VALUES.items()}
    typed = bool(classes)
    rows: list[Row] = []
    for case in tqdm(cases, desc="score", unit="case", disable=not progress):
        files = list(truths[case].values())
        reference = read_label_map(files[0])
        own = [reference, *(read_label_map(path) for path in files[1:])]
        typed |= any(float(x.max()) > 1 for x in own)
        raters = [on_grid_of(reference, x, p, files[0], on_mismatch) for x, p in zip(own, files, strict=True)]
        found = [on_grid_of(reference, read_label_map(p), p, files[0], on_mismatch) for p in preds[case]]
        sets = [[x.numpy()[0] for x in masks] for masks in (found, raters)]
        row: Row = {"case": case, "raters": len(raters), "predictions": len(found)}
        row |= set_scores(*([x > 0 for x in masks] for masks in sets))
        for value, name in named.items():
            one = [[x == value for x in masks] for masks in sets]
            if not any(x.any() for masks in one for x in masks):
                one = [[x[:1] for x in masks] for masks in one]  # as empty, and soon compared
            scores = set_scores(*one)
            row |= {f"{column}_{name}": score for column, score in scores.items()}
        rows.append(row)
    if not typed:  # in all cases or in none: one that lacks some types counts too
        rows = [{key: row[key] for key in ("case", "raters", "predictions", *COLUMNS)} for row in rows]
    names = [key for key in rows[0] if key.startswith(COLUMNS)]
    summary = {name: column_statistics(rows, name) or {} for name in names}
    scores = RaterScores(n=len(rows), columns=summary, unpaired=alone)
    if out is not None:
        write_csv(Path(out) / "per_case.csv", rows)
        write_json(Path(out) / "summary.json", scores)
        write_text(Path(out) / "summary.md", str(scores))
    return scores


def _raters(path: Path) -> dict[str, dict[str, Path]]:
    """Masks of each rater by case."""
    if path.is_dir():
        found = rater_files(path)
    else:
        content: dict[str, Any] = read_datalist(path)
        found = {}
        for part in ("training", "testing"):
            for item in content.get(part) or []:
                own = item.get("raters") if isinstance(item, dict) else None
                if isinstance(own, list) and own and all(isinstance(file, str) for file in own):
                    files = {str(k): absolute(path.parent / file) for k, file in enumerate(own)}
                    case = str(item.get("case") or case_name(str(item.get("image"))))
                    if case in found:
                        raise InputError(f"{path}: expected each case once, found {case!r} again")
                    found[case] = files
    if not found:
        raise InputError(
            f"{path}: expected CASE/label_annot_RATER.nii.gz, or a datalist whose entries have `raters`, "
            "found none"
        )
    return found


def _predictions(folder: Path) -> dict[str, list[Path]]:
    """Predictions by case: files, or folders of several."""
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of predictions, found no such folder")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            files = [file for file in sorted(path.iterdir()) if is_nifti(file)]
            if files:
                found.setdefault(path.name, []).extend(files)
        elif is_nifti(path):
            found.setdefault(case_name(path).removesuffix("_seg").removesuffix("_pred"), []).append(path)
    return found
