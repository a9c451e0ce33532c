"""Score any folder of label maps against the truth, also those of other tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from headct.datasets.class_values import class_values
from headct.scores.grids import MISMATCHES, on_grid_of, read_label_map
from headct.scores.score_raters import RaterScores, score_raters
from tools.core.errors import InputError
from tools.core.files import existing, write_text
from tools.core.names import case_name
from tools.core.tables import Row, write_json
from tools.data.entries import checked_entry, read_datalist
from tools.data.labels import class_value, listed_names
from tools.metrics.instance2022 import instance2022_scores
from tools.report.handler import SegmentationReport
from tools.report.page import summary_markdown
from tools.report.summary import GROUPS

EXTENSIONS = (".nii.gz", ".nii", ".nrrd", ".mha", ".png")
POSTFIXES = ("_seg", "_pred", "_prediction", "_trans", "_mask", "_label", "_labels")

# What each paper reports; the rest of a report is always there.
RULES: dict[str, dict[str, Any]] = {
    "instance2022": {"scores": instance2022_scores, "lesions": False},
    "li2021": {"lesions": False, "by_slice": True},  # an image is a slice
    "hssayeni2020": {"lesions": False},  # per patient and per type, detection of slices
    "abramova2021": {"lesions": False},  # with and without IVH
}
SEVERAL_RATERS = "mbhseg2025"  # see headct.scores.raters


class Scores(dict):
    """Summary of a scoring, as a dictionary; printed, it is a page of Markdown tables."""

    title = "Scores"

    def __str__(self) -> str:
        page = summary_markdown({name: self[name] for name in GROUPS if name in self}, self.title)
        for side, names in self["unpaired"].items():
            if names:
                page += f"\nNot scored, {side} without partner: {', '.join(names)}\n"
        return page


def score(
    pred: str | Path,
    truth: str | Path,
    rules: str | None = None,
    out: str | Path | None = None,
    allow_missing: bool = False,
    classes: Mapping[int, str] | Sequence[str] | None = None,
    plots: bool = True,
    on_mismatch: str = "error",
    progress: bool = True,
) -> Scores | RaterScores:
    """Score a folder of predicted label maps.

    Args:
        pred: folder of label maps (.nii.gz, .nii, .nrrd, .mha, .png), searched with its subfolders. Zero is
            background. A file's partner has the same name, or the same name before a postfix such as `_seg`.
        truth: folder of label maps, or a datalist JSON whose entries have `label` (relative to the JSON),
            `case` and, for the split by intraventricular hemorrhage, `ivh`.
        rules: what to report: None for overlap, location, volumes, lesions and slices;
            "instance2022": the challenge's scores (dice with smoothing, rvd, nsd, hd, hd95);
            "li2021": every slice is an image, for 2D networks; "hssayeni2020": per patient, per type, slices;
            "abramova2021": per patient, with and without IVH (needs the flag, or a class named "ivh");
            "mbhseg2025": against several raters, see `headct.scores.raters`.
        out: folder for the tables and plots that `SegmentationReport` writes; None writes nothing.
        allow_missing: score the pairs that there are. By default a file without partner is an error.
        classes: names of the class values, {1: "edh", ...} or the names of 1, 2, ... in order. By default
            those of the datalist JSON, if it has more than one, which must then be known ones. What is called
            edema or background is none of the foreground.
        plots: also write PNG files.
        on_mismatch: a prediction on another grid than its truth: "error"; "warn" takes it voxel by voxel, if
            it has as many; "resample" moves it, the nearest voxel for each. Voxels in another order are no
            mismatch.
        progress: show a progress bar.

    Returns:
        the summary (see `tools.report.summary.summarize`), and `unpaired`: names of files without partner,
        as {"truth": [...], "pred": [...]}; empty lists unless `allow_missing`.

    Raises:
        InputError: for unknown rules, folders without label maps, missing partners, or a pair on different
        grids.
    """
    if rules is not None and rules not in (*RULES, SEVERAL_RATERS):
        raise InputError(f"rules: expected one of {', '.join((*RULES, SEVERAL_RATERS))}, found '{rules}'")
    if on_mismatch not in MISMATCHES:
        raise InputError(f"on_mismatch: expected one of {', '.join(MISMATCHES)}, found {on_mismatch!r}")
    if rules == SEVERAL_RATERS:
        return score_raters(
            Path(pred), Path(truth), out, allow_missing, _class_names(classes), on_mismatch, progress
        )
    truths, listed_classes = _truths(Path(truth), known=not classes)
    preds = _files(Path(pred))
    pairs, unpaired = _pair(preds, truths)
    if any(unpaired.values()) and not allow_missing:
        raise InputError(
            f"{pred}: expected one prediction for each truth, found {len(unpaired['truth'])} truths without "
            f"prediction {unpaired['truth'][:5]} and {len(unpaired['pred'])} predictions without truth "
            f"{unpaired['pred'][:5]}; allow missing partners to score the {len(pairs)} pairs there are"
        )
    if not pairs:
        raise InputError(f"{pred}: expected predictions named as the files of {truth}, found no pair")
    names = _class_names(classes) or listed_classes
    apart = [value for value, name in names.items() if class_value(name) == 0]
    names = {value: name for value, name in names.items() if value and value not in apart}
    title = "Scores" if rules is None else f"Scores by the rules of {rules}"
    shown = names if len(names) > 1 or classes else {}
    report = SegmentationReport(out, classes=shown, plots=plots, title=title, **RULES.get(rules or "", {}))
    for case, pred_file, entry in tqdm(pairs, desc="score", unit="case", disable=not progress):
        item = _item(case, pred_file, entry, names, apart, on_mismatch)
        if rules == "abramova2021" and item["ivh"] is None:
            raise InputError(
                f"case {case}: expected an IVH flag for the rules of abramova2021, found none; give a "
                "datalist JSON with 'ivh' as truth, or name a class 'ivh'"
            )
        report.add(item)
    report.finish()
    scores = Scores({**report.summary, "unpaired": unpaired})
    scores.title = title
    if out is not None:
        write_json(Path(out) / "summary.json", scores)
        write_text(Path(out) / "summary.md", str(scores))
    return scores


def _item(
    case: str,
    pred_file: Path,
    entry: Row,
    classes: Mapping[int, str],
    apart: Sequence[int],
    on_mismatch: str,
) -> dict[str, Any]:
    """The pair as an item of the report; values in `apart` are background."""
    pred, truth = (read_label_map(path, picture=not classes) for path in (pred_file, entry["label"]))
    pred = on_grid_of(truth, pred, pred_file, entry["label"], on_mismatch)
    for value in apart:
        pred[pred == value] = 0
        truth[truth == value] = 0
    for path, found in ((pred_file, pred), (entry["label"], truth)) if len(classes) > 1 else ():
        unknown = sorted(set(found.unique().int().tolist()) - {0, *classes})
        if unknown:
            known = ", ".join(f"{value} ({name})" for value, name in classes.items())
            raise InputError(f"{path}: expected values of the classes {known}, found {unknown[0]}")
    ivh = entry.get("ivh")
    values = [value for value, name in classes.items() if name.lower() == "ivh"]
    if ivh is None and values:
        ivh = bool((truth == values[0]).any())
    return {"case": case, "ivh": ivh, "pred": pred, "label": truth}


def _files(folder: Path) -> dict[str, Path]:
    """Label maps of a folder by name; by their path in the folder if two files share a name."""
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of label maps, found no such folder")
    found = (p for p in folder.rglob("*") if not p.is_dir() and not p.name.startswith("."))  # ._a is of macOS
    files = existing(p for p in found if p.name.lower().endswith(EXTENSIONS))
    if not files:
        raise InputError(f"{folder}: expected label maps ({', '.join(EXTENSIONS)}), found none")
    by_name = {case_name(p): p for p in files}
    if len(by_name) == len(files):
        return by_name
    by_path = {(p.relative_to(folder).parent / case_name(p)).as_posix(): p for p in files}
    if len(by_path) < len(files):
        raise InputError(f"{folder}: expected one file for each case, found a case in two file formats")
    return by_path


def _truths(path: Path, known: bool) -> tuple[dict[str, Row], dict[int, str]]:
    """Entries by case, each with at least `label`, and the names that a datalist gives to the values.

    Names must be `known` ones, unless the user says others.
    """
    if path.is_dir():
        return {name: {"label": file} for name, file in _files(path).items()}, {}
    if not path.is_file():
        raise InputError(f"{path}: expected a folder of label maps or a datalist JSON, found no such file")
    content = read_datalist(path)
    entries: dict[str, Row] = {}
    for part in ("training", "validation", "testing", "test"):
        section = content.get(part)
        for number, item in enumerate(section if isinstance(section, list) else []):
            entry = checked_entry(path, part, number, item, need=("label",))
            case = entry.get("case") or case_name(entry["label"])
            if case in entries:
                raise InputError(f"{path}: expected each case once, found '{case}' again")
            entries[case] = {**entry, "label": Path(entry["label"])}
    if not entries:
        raise InputError(f"{path}: expected a datalist with cases, found none")
    names = listed_names(content.get("labels"), path)
    if known:
        class_values(names, path)
    return entries, names


def _pair(
    preds: Mapping[str, Path], truths: Mapping[str, Row]
) -> tuple[list[tuple[str, Path, Row]], dict[str, list[str]]]:
    """(case, prediction, truth) in the order of the cases, and the names without partner."""
    found: dict[str, Path] = {}
    alone = []
    for name, path in preds.items():
        case = next((c for c in _candidates(name) if c in truths), None)
        if case is None:
            alone.append(name)
        elif case in found:
            raise InputError(f"case {case}: expected one prediction, found {found[case]} and {path}")
        else:
            found[case] = path
    pairs = [(case, found[case], truths[case]) for case in sorted(found)]
    return pairs, {"truth": sorted(set(truths) - set(found)), "pred": sorted(alone)}


def _candidates(name: str) -> list[str]:
    """Truths that a prediction's name may stand for: itself, its file name, both without postfix."""
    names = [name, name.rsplit("/", 1)[-1]]
    return names + [n.removesuffix(p) for n in names for p in POSTFIXES if n.endswith(p)]


def _class_names(classes: Mapping[int, str] | Sequence[str] | None) -> dict[int, str]:
    if not classes:
        return {}
    if isinstance(classes, Mapping):
        return {int(value): str(name) for value, name in classes.items()}
    return dict(enumerate(map(str, classes), start=1))
