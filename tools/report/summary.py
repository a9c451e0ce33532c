"""From per-case tables to the figures of a paper: mean, sd, pooled, location, volume, by group."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tools.core.tables import Row
from tools.metrics.lesion import lesion_summary
from tools.metrics.overlap import OVERLAP_NAMES, overlap_scores
from tools.metrics.slice_detection import slice_detection_table
from tools.metrics.volume import bland_altman

# Flags and counts: they are summed, not averaged.
COUNT_COLUMNS = ("tp", "fp", "fn", "slice_tp", "slice_fp", "slice_tn", "slice_fn")
NOT_AVERAGED = {"case", "fold", "patient", "ivh", "large", "hit", "false_alarm", *COUNT_COLUMNS}

GROUPS: dict[str, Callable[[Row], bool]] = {
    "all": lambda row: True,
    "ivh": lambda row: row.get("ivh") is not None and bool(row["ivh"]),
    "no_ivh": lambda row: row.get("ivh") is not None and not row["ivh"],
    "large": lambda row: row.get("large") is True,
    "small": lambda row: row.get("large") is False,
}


def summarize(
    rows: Sequence[Row], lesions: Sequence[Row] | None = None, classes: Sequence[str] = ()
) -> dict[str, Any]:
    """Statistics of the groups of cases: all, with and without intraventricular hemorrhage (Abramova 2021),
    and slices with a large or a small lesion (Li 2021).

    Args:
        rows: one dictionary per case with the columns that `case_row` makes; `ivh` is True, False or None
            (unknown, then the case counts in `all` only), and so is `large`.
        lesions: one dictionary per lesion (`LesionMatch.rows`), or None if lesions were not looked for.
        classes: names of the classes that have columns of their own (`dice_edh`, `tp_edh` ...).

    Returns:
        for each group that has cases a dictionary with

        - `n`; `columns`: of each numeric column mean, sd (n - 1; None for one case or infinite values),
          median, min, max, n; where values are infinite also `finite_mean` and `n_infinite`;
        - `with_lesion`: the same for the overlap of the cases whose truth is not empty;
        - `pooled`: overlap of all voxels counted together;
        - `location`: accuracy over images with lesion, specificity over those without;
        - `slices`: sensitivity, specificity, accuracy of slices; `volume`: Bland-Altman figures;
        - `lesions`: detection by size class; `classes`: overlap of each class where present, and pooled.
    """
    summary = {}
    for name, belongs in GROUPS.items():
        members = [row for row in rows if belongs(row)]
        if members:
            cases = {row["case"] for row in members}
            own = None if lesions is None else [lesion for lesion in lesions if lesion["case"] in cases]
            summary[name] = _group(members, own, classes)
    return summary


def _group(rows: Sequence[Row], lesions: Sequence[Row] | None, classes: Sequence[str]) -> dict[str, Any]:
    counts_of_classes = {f"{count}_{name}" for name in classes for count in ("tp", "fp", "fn")}
    names = dict.fromkeys(key for row in rows for key in row)
    columns = {c: column_statistics(rows, c) for c in names if c not in NOT_AVERAGED | counts_of_classes}
    bleeding = [row for row in rows if row["hit"] is not None]
    group = {
        "n": len(rows),
        "columns": {c: s for c, s in columns.items() if s},
        "with_lesion": {c: s for c in OVERLAP_NAMES if (s := column_statistics(bleeding, c))},
        "pooled": _pooled(rows),
        "location": location_summary(rows),
        "volume": bland_altman([r["pred_volume_ml"] for r in rows], [r["volume_ml"] for r in rows]),
    }
    if "slice_tp" in rows[0]:
        counts = [sum(row[f"slice_{k}"] for row in rows) for k in ("tp", "fp", "tn", "fn")]
        slices = slice_detection_table(torch.tensor([counts]), [math.nan])[0]
        group["slices"] = {k: v for k, v in slices.items() if k != "threshold"}
    if lesions is not None:
        group["lesions"] = lesion_summary(lesions, n_scans=len(rows))
    if classes:
        group["classes"] = {name: _class(rows, name) for name in classes}
    return group


def _class(rows: Sequence[Row], name: str) -> dict[str, Any]:
    present = [row for row in rows if row[f"tp_{name}"] + row[f"fn_{name}"] > 0]
    scores = {score: column_statistics(present, f"{score}_{name}") for score in OVERLAP_NAMES}
    return {
        "n_present": len(present),
        **{k: v for k, v in scores.items() if v},
        "pooled": _pooled(rows, f"_{name}"),
    }


def _pooled(rows: Sequence[Row], suffix: str = "") -> dict[str, float]:
    counts = torch.tensor([sum(row[f"{k}{suffix}"] for row in rows) for k in ("tp", "fp", "fn")])
    return {name: float(score) for name, score in overlap_scores(counts).items()}


def column_statistics(rows: Sequence[Row], column: str) -> dict[str, Any] | None:
    """Mean, sd, median, min, max of a column and n; None if the column has no numbers."""
    values = [row.get(column) for row in rows]
    if any(isinstance(v, str) for v in values):
        return None
    numbers = [float(v) for v in values if v is not None]
    if not numbers:
        return None
    finite = [v for v in numbers if math.isfinite(v)]
    mean, sd = mean_sd(numbers)
    result = {
        "n": len(numbers),
        "mean": mean,
        "sd": sd,
        "median": statistics.median(numbers),
        "min": min(numbers),
        "max": max(numbers),
    }
    if len(finite) < len(numbers):
        result |= {
            "finite_mean": mean_sd(finite)[0] if finite else None,
            "n_infinite": len(numbers) - len(finite),
        }
    return result


def mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1); the latter is None for one value or infinite values."""
    mean = math.fsum(values) / len(values) if all(map(math.isfinite, values)) else sum(values)
    if len(values) < 2 or not math.isfinite(mean):
        return mean, None
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def location_summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Location accuracy with its n, and image-level specificity with its n (None where n is 0)."""
    hits = [row["hit"] for row in rows if row.get("hit") is not None]
    alarms = [row["false_alarm"] for row in rows if row.get("false_alarm") is not None]
    return {
        "accuracy": sum(hits) / len(hits) if hits else None,
        "n_with_lesion": len(hits),
        "hits": int(sum(hits)),
        "specificity": 1 - sum(alarms) / len(alarms) if alarms else None,
        "n_without_lesion": len(alarms),
        "false_alarms": int(sum(alarms)),
    }


def log_values(group: dict[str, Any]) -> dict[str, float]:
    """Flat numbers of one group of the summary, for TensorBoard and MLflow."""
    values = {name: group["columns"][name]["mean"] for name in OVERLAP_NAMES}
    values |= {f"{name}_pooled": group["pooled"][name] for name in OVERLAP_NAMES}
    location, volume = group["location"], group["volume"]
    more = {
        "location_accuracy": location["accuracy"],
        "image_specificity": location["specificity"],
        "volume_bias_ml": volume["bias_ml"],
        "volume_within_10_percent": volume["within_10_percent"],
    }
    if "lesions" in group:
        more |= {f"lesion_{k}": group["lesions"][0][k] for k in ("sensitivity", "precision", "f1")}
    return values | {name: value for name, value in more.items() if value is not None}
