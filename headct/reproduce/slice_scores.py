"""What evaluations say of single slices, for the pages of 2D networks."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headct.scores.tables import read_csv
from tools.core.tables import Row

__all__ = ["Scores", "Seeds"]


@dataclass(frozen=True)
class Scores:
    """What an evaluation says of single slices.

    Args:
        rows: of `slice_metrics/per_case.csv`.
        area: below the precision-recall curve of all pixels; None without any lesion.
        curve: its recall and precision.
        thresholds: of the probability, one for each point of the curve.
        detection: slices found at some thresholds: rows of `slice_detection.csv`.
    """

    rows: Sequence[Row]
    area: float | None = None
    curve: tuple[Sequence[float], Sequence[float]] | None = field(default=None, repr=False)
    thresholds: Sequence[float] = field(default=(), repr=False)
    detection: Sequence[Row] = ()

    @classmethod
    def read(cls, folder: Path) -> Scores:
        """From `eval/slice_metrics` of a run."""
        summary = json.loads((folder / "summary.json").read_text())
        area = summary["all"].get("precision_recall", {}).get("area")
        curve, thresholds = folder / "precision_recall.csv", []
        points = None
        if curve.is_file():
            with curve.open(newline="") as stream:
                rows = list(csv.DictReader(stream))
            recall, precision, thresholds = (
                [float(row[name]) for row in rows] for name in ("recall", "precision", "thresholds")
            )
            points = (recall, precision)
        detection = summary["all"].get("slice_detection", ())
        return cls(read_csv(folder / "per_case.csv"), area, points, thresholds, detection)

    def lesions(self, large: bool | None = None) -> list[Row]:
        """Slices that show a lesion: all, or the large or small ones."""
        rows = [row for row in self.rows if row["large"] is not None]
        return rows if large is None else [row for row in rows if bool(row["large"]) == large]

    def mean(self, column: str, large: bool | None = None) -> float | None:
        """Mean of a column over slices with lesion."""
        values = [float(row[column]) for row in self.lesions(large)]
        return float(np.mean(values)) if values else None

    def false_alarms(self) -> float | None:
        """Share of the slices without lesion where something was predicted."""
        values = [float(row["false_alarm"]) for row in self.rows if row["large"] is None]
        return float(np.mean(values)) if values else None


Seeds = Mapping[str, Mapping[int, Scores]]
"""Scores by row of the table and seed."""
