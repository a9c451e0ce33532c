"""What a prediction is made of: plain values, which `report.json` holds and which come back from it.

pydantic checks what is read, and says as a JSON schema what is written: docs/report.schema.json.
"""

from __future__ import annotations

import json
from dataclasses import field
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass
from pydantic.json_schema import SkipJsonSchema

__all__ = [
    "FORMAT",
    "Case",
    "Correction",
    "Failure",
    "Lesion",
    "Midline",
    "Model",
    "Prediction",
    "Prior",
    "Uncertainty",
    "report_schema",
]

FORMAT: Final = 1
"""Version of `report.json`: another one when a value goes or changes its meaning, not when one is added."""
NOTE = "Research use only, not a medical device."


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
        volume_range_ml: volume where probability minus and plus one deviation exceeds the threshold.
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
class Prior:
    """An earlier scan of the same patient, as its report has it, and what has changed since.

    Attributes:
        name, verdict: of the earlier case.
        volume_ml, lesions: what was found then.
        change_ml: volume now minus volume then.
        change_percent: of the volume then; None where that was 0.
        types_ml: volumes by type of lesion, then and now.
        doubts: why the two may not be compared.
    """

    name: str
    verdict: str
    volume_ml: float
    lesions: int
    change_ml: float
    change_percent: float | None
    types_ml: dict[str, tuple[float, float]]
    doubts: list[str]


@dataclass
class Correction:
    """A label map that somebody has corrected, and how far it is from what the models had found.

    Attributes:
        sha256: of the file with the corrected label map.
        automatic_ml: volume that the models had found.
        dice: of the corrected label map with that of the models, any type; 1 where both are empty.
    """

    sha256: str
    automatic_ml: float
    dice: float


@dataclass
class Case:
    """One scan: the verdict and what it rests on.

    Attributes:
        kind: "nifti" or "dicom".
        classes: names of the values of the label map.
        volume_ml, abc_half_ml: of all lesions of at least `min_ml`, which `lesions` lists, the largest first.
        small_lesions, small_ml: number and volume of those that are smaller.
        consensus: by which rule several models became one label map; "" with one.
        scan: facts about it.
        files: names within `folder`.
        identifiers: of the patient and the study; empty unless they were to be kept.
        settings: what the result depends on.
        seconds: by phase.
        prior: the earlier scan that it was compared with.
        corrected: where somebody has corrected the label map.
        format_version: see `FORMAT`.
        folder: where the files lie; not in `report.json`.
        skipped: True for a case that an earlier run had done; not in `report.json`.
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
    scan: dict[str, str]
    files: dict[str, str]
    classes: dict[int, str] = field(default_factory=dict)
    identifiers: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    prior: Prior | None = None
    corrected: Correction | None = None
    note: str = NOTE
    format_version: Literal[1] = FORMAT
    folder: SkipJsonSchema[Path] = Field(default=Path(), exclude=True)
    skipped: SkipJsonSchema[bool] = Field(default=False, exclude=True)

    @property
    def types_ml(self) -> dict[str, float]:
        """Volume of the lesions by type, in mL."""
        volumes: dict[str, float] = {}
        for lesion in self.lesions:
            volumes[lesion.kind] = volumes.get(lesion.kind, 0.0) + lesion.volume_ml
        return volumes

    def path(self, key: str) -> Path:
        """Where one of `files` lies."""
        return self.folder / self.files[key]

    def as_json(self) -> str:
        """The content of `report.json`: everything but where it lies."""
        return _CASE.dump_json(self, indent=2).decode() + "\n"

    @classmethod
    def read(cls, folder: Path) -> Case:
        """A case that an earlier run has written.

        Raises:
            OSError, ValueError: there is no report of this format in the folder.
        """
        case = cls.read_json((folder / "report.json").read_bytes())
        case.folder, case.skipped = folder, True
        return case

    @classmethod
    def read_json(cls, content: str | bytes) -> Case:
        """A case from the content of `report.json`.

        Raises:
            ValueError: of another format, or damaged.
        """
        values = json.loads(content)
        found = values.get("format_version") if isinstance(values, dict) else None
        if found != FORMAT:
            raise ValueError(f"expected a report of format {FORMAT}, found {found}")
        return _CASE.validate_python(values)


_CASE = TypeAdapter(Case)


def report_schema() -> dict[str, Any]:
    """JSON schema of `report.json`."""
    schema = _CASE.json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "report.json"}


@dataclass
class Failure:
    """An input without a result, and the one line that says why."""

    name: str
    message: str
    study_uid: str = ""


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


if __name__ == "__main__":  # > docs/report.schema.json
    print(json.dumps(report_schema(), indent=2))
