"""What a prediction is made of: plain values, which `report.json` holds and which come back from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Case", "Failure", "Lesion", "Midline", "Model", "Prediction", "Uncertainty"]


@dataclass
class Lesion:
    """One connected bleed (26 neighbours).

    Attributes:
        number: 1 is the largest.
        volume_ml, abc_half_ml: counted voxels, and the bedside estimate ABC/2 (Kothari 1996).
        diameter_mm: the largest on any axial slice, edge to edge.
        mean_hu: of the scan within the lesion.
        centroid_mm: world coordinates (RAS+) of its centre of mass.
        side: "left", "right" or "midline" of the patient (a quarter or more on either side of the symmetry
            plane); None where there is no plane.
        depth_mm: from the inner table of the skull to the nearest voxel of the lesion; None without skull.
        slices: first and last axial slice, counted from 1 at the bottom.
        kind: name of its class, the most frequent one if there are several.
    """

    number: int
    volume_ml: float
    abc_half_ml: float
    diameter_mm: float
    mean_hu: float
    centroid_mm: list[float]
    side: str | None
    depth_mm: float | None
    slices: list[int]
    kind: str


@dataclass
class Midline:
    """Midline shift: mm towards `side`, or why there is none (`reason`)."""

    shift_mm: float | None = None
    side: str | None = None
    reason: str = ""


@dataclass
class Uncertainty:
    """How far two or more predictions of the same scan disagree.

    Attributes:
        method: what was compared.
        mean_deviation: standard deviation of the lesion's probability, averaged over the voxels that any of
            the predictions calls hemorrhage; 0 where there are none; at most 0.5.
        volume_range_ml: volume where probability minus and plus one deviation exceeds a half.
    """

    method: str
    mean_deviation: float
    volume_range_ml: list[float]


@dataclass
class Model:
    """One bundle and what it found by itself."""

    bundle: str
    version: str
    title: str
    weights: list[str]
    sha256: list[str]
    volume_ml: float
    class_volumes_ml: dict[str, float]
    segments: str
    trained_on: str
    intended_use: str
    references: list[str]
    uncertainty: Uncertainty | None = None


@dataclass
class Case:
    """One scan: the verdict and what it rests on.

    `files` are names within `folder`. `skipped` is True for a case that an earlier run had done.
    """

    name: str
    kind: str
    verdict: str
    hemorrhage: bool
    volume_ml: float
    abc_half_ml: float
    lesions: list[Lesion]
    small_lesions: int
    small_ml: float
    min_ml: float
    midline: Midline
    models: list[Model]
    consensus: str
    warnings: list[str]
    scan: dict[str, Any]
    files: dict[str, str]
    identifiers: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    folder: Path = Path()
    skipped: bool = False

    def path(self, key: str) -> Path:
        """Where one of `files` lies."""
        return self.folder / self.files[key]

    def as_json(self) -> str:
        """The content of `report.json`: everything but where it lies."""
        values = asdict(self)
        del values["folder"], values["skipped"]
        note = "Research use only, not a medical device."
        return json.dumps({"note": note, **values}, indent=2, default=str) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Case:
        """A case that an earlier run has written.

        Raises:
            OSError, ValueError, KeyError, TypeError: there is no complete report in the folder.
        """
        values = json.loads((folder / "report.json").read_text())
        values.pop("note", None)
        values["lesions"] = [Lesion(**lesion) for lesion in values["lesions"]]
        values["midline"] = Midline(**values["midline"])
        for model in values["models"]:
            if model["uncertainty"] is not None:
                model["uncertainty"] = Uncertainty(**model["uncertainty"])
        values["models"] = [Model(**model) for model in values["models"]]
        return cls(**values, folder=folder, skipped=True)


@dataclass
class Failure:
    """An input without a result, and the one line that says why."""

    name: str
    message: str


@dataclass
class Prediction:
    """All cases of one call, and those that failed."""

    out: Path
    cases: list[Case]
    failures: list[Failure]

    @property
    def exit_code(self) -> int:
        """0 if every case has a result, else 1."""
        return int(bool(self.failures))
