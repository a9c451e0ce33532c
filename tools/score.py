"""Score any folder of label maps against the truth, also those of other tools."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage, Orientation
from tqdm import tqdm

from tools.errors import InputError
from tools.metrics.page import summary_markdown
from tools.metrics.report import SegmentationReport, case_name
from tools.metrics.summary import GROUPS
from tools.metrics.tables import Row, write_atomically, write_json

EXTENSIONS = (".nii.gz", ".nii", ".nrrd", ".mha", ".png")
POSTFIXES = ("_seg", "_pred", "_prediction", "_trans", "_mask", "_label", "_labels")

# What each paper reports; the rest of a report is always there.
RULES: dict[str, dict[str, bool]] = {
    "instance2022": {"surface": True, "lesions": False},
    "li2021": {"lesions": False},  # an image is a slice
    "hssayeni2020": {"lesions": False},  # per patient and per type, detection of slices
    "abramova2021": {"lesions": False},  # with and without IVH
}


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
    progress: bool = True,
) -> Scores:
    """Score a folder of predicted label maps.

    Args:
        pred: folder of label maps (.nii.gz, .nii, .nrrd, .mha, .png), searched with its subfolders. Zero is
            background. A file's partner has the same name, or the same name before a postfix such as `_seg`.
        truth: folder of label maps, or a datalist JSON whose entries have `label` (relative to the JSON),
            `case` and, for the split by intraventricular hemorrhage, `ivh`.
        rules: what to report: None for overlap, location, volumes, lesions and slices;
            "instance2022": the challenge's scores (dice with smoothing, rvd, nsd, hd, hd95);
            "li2021": every slice is an image, for 2D networks; "hssayeni2020": per patient, per type, slices;
            "abramova2021": per patient, with and without IVH (needs the flag, or a class named "ivh").
        out: folder for the tables and plots that `SegmentationReport` writes; None writes nothing.
        allow_missing: score the pairs that there are. By default a file without partner is an error.
        classes: names of the class values, {1: "edh", ...} or the names of 1, 2, ... in order. By default
            those of the datalist JSON, if it has more than one.
        plots: also write PNG files.
        progress: show a progress bar.

    Returns:
        the summary (see `tools.metrics.summarize`), and `unpaired`: names of the files without partner, as
        {"truth": [...], "pred": [...]}; empty lists unless `allow_missing`.

    Raises:
        InputError: for unknown rules, folders without label maps, missing partners, or a pair on different
        grids.
    """
    if rules is not None and rules not in RULES:
        raise InputError(f"rules: expected one of {', '.join(RULES)}, found '{rules}'")
    truths, listed_classes = _truths(Path(truth))
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
    title = "Scores" if rules is None else f"Scores by the rules of {rules}"
    report = SegmentationReport(out, classes=names, plots=plots, title=title, **RULES.get(rules, {}))
    for case, pred_file, entry in tqdm(pairs, desc="score", unit="case", disable=not progress):
        for item in _items(case, pred_file, entry, names, by_slice=rules == "li2021"):
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
        write_atomically(Path(out) / "summary.md", str(scores))
    return scores


def _items(
    case: str, pred_file: Path, entry: Row, classes: Mapping[int, str], by_slice: bool
) -> Iterator[dict[str, Any]]:
    """The pair as one item of the report, or as one item per slice."""
    pred, truth = _read(pred_file), _read(entry["label"])
    if pred.shape != truth.shape or not torch.allclose(pred.affine, truth.affine, atol=1e-2):
        raise InputError(
            f"{pred_file}: expected the grid of {entry['label']}, {tuple(truth.shape[1:])} voxels with "
            f"affine {truth.affine.tolist()}, found {tuple(pred.shape[1:])} with {pred.affine.tolist()}"
        )
    ivh = entry.get("ivh")
    values = [value for value, name in classes.items() if name.lower() == "ivh"]
    if ivh is None and values:
        ivh = bool((truth == values[0]).any())
    item = {"case": case, "ivh": ivh, "pred": pred, "label": truth}
    if not by_slice or pred.ndim == 3:
        yield item
        return
    for k in range(pred.shape[-1]):
        yield item | {"case": f"{case}/{k:03d}", "pred": pred[..., k], "label": truth[..., k]}


def _read(path: str | Path) -> MetaTensor:
    """Label map as (1, spatial...), volumes in RAS."""
    try:
        image = _loader(str(path).lower().rsplit(".", 1)[-1])(path)
    except Exception as error:  # the readers raise whatever their file format's library raises
        raise InputError(
            f"{path}: expected a label map, found a file that cannot be read ({error})"
        ) from error
    if image.shape[0] != 1 or image.ndim not in (3, 4):
        raise InputError(
            f"{path}: expected a label map of 2 or 3 dimensions, found shape {tuple(image.shape)}"
        )
    return Orientation("RAS", labels=None)(image) if image.ndim == 4 else image


@lru_cache
def _loader(extension: str) -> LoadImage:
    reader = {"gz": "NibabelReader", "nii": "NibabelReader", "png": "PILReader"}.get(extension, "ITKReader")
    return LoadImage(reader, image_only=True, ensure_channel_first=True)


def _files(folder: Path) -> dict[str, Path]:
    """Label maps of a folder by name; by their path in the folder if two files share a name."""
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of label maps, found no such folder")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name.lower().endswith(EXTENSIONS))
    if not files:
        raise InputError(f"{folder}: expected label maps ({', '.join(EXTENSIONS)}), found none")
    by_name = {case_name(p): p for p in files}
    if len(by_name) == len(files):
        return by_name
    by_path = {(p.relative_to(folder).parent / case_name(p)).as_posix(): p for p in files}
    if len(by_path) < len(files):
        raise InputError(f"{folder}: expected one file for each case, found a case in two file formats")
    return by_path


def _truths(path: Path) -> tuple[dict[str, Row], dict[int, str]]:
    """Entries by case, each with at least `label`, and class names if the datalist has several classes."""
    if path.is_dir():
        return {name: {"label": file} for name, file in _files(path).items()}, {}
    if not path.is_file():
        raise InputError(f"{path}: expected a folder of label maps or a datalist JSON, found no such file")
    try:
        content = json.loads(path.read_text())
        sections = [section for section in content.values() if isinstance(section, list)]
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path}: expected a datalist JSON, found {error}") from error
    entries: dict[str, Row] = {}
    for entry in (entry for section in sections for entry in section):
        if not isinstance(entry, dict) or "label" not in entry:
            raise InputError(f"{path}: expected entries with 'label', found {entry}")
        case = str(entry.get("case") or case_name(entry["label"]))
        if case in entries:
            raise InputError(f"{path}: expected each case once, found '{case}' again")
        entries[case] = {**entry, "label": path.parent / entry["label"]}
    if not entries:
        raise InputError(f"{path}: expected a datalist with cases, found none")
    labels = content.get("labels")
    named = {int(value): str(name) for value, name in labels.items()} if isinstance(labels, dict) else {}
    named.pop(0, None)
    return entries, named if len(named) > 1 else {}


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
