"""What a prediction can be asked for besides the input, the bundles and the folder of the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.core.errors import InputError

__all__ = ["PredictOptions"]


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Options of `headct.predict.predict`, the same for every case.

    What is predicted, and with what:

    Attributes:
        weights: of each bundle instead of its `models/model.pt`: a file, or the name of another in its
            `models`; a pattern that matches several files makes
            an ensemble, whose members' disagreement is the uncertainty.
        series: number or UID of the DICOM series to take; None takes the head CT without contrast.
        allow_gaps: take a DICOM series of which slices are missing, with a warning.
        uncertainty: predict each scan a second time, flipped, to see how far both agree.
        min_ml: smaller lesions are not counted as hemorrhage.
        device: where networks run; None lets the bundle choose.
        prior: results of an earlier scan of the same patient, or of all patients under the same names, to
            compare volumes with: a case's folder or report, or a folder of results.

    What is written besides label map and report:

    Attributes:
        save_probabilities, save_uncertainty: these maps as NIfTI.
        viewer: beside the report a page with the scan in 3D, as large as the scan.
        save_ct: of DICOM input, the straightened scan that the label map lies on, as NIfTI.
        keep_identifiers: let the report and the DICOM SEG name the patient.
        overwrite: predict cases again that are there already.

    What is seen meanwhile:

    Attributes:
        progress: show bars over cases and windows on the standard error.
        debug: let errors of single cases out, with their traceback.

    Raises:
        InputError: `min_ml` is negative or no number.
    """

    weights: str | Path | Sequence[str | Path] | None = None
    series: str | int | None = None
    allow_gaps: bool = False
    uncertainty: bool = True
    min_ml: float = 0.1
    device: str | None = None
    prior: str | Path | None = None

    save_probabilities: bool = False
    save_uncertainty: bool = False
    save_ct: bool = False
    viewer: bool = False
    keep_identifiers: bool = False
    overwrite: bool = False

    progress: bool = False
    debug: bool = False

    def __post_init__(self) -> None:
        if not float(self.min_ml) >= 0:
            raise InputError(f"min_ml: expected a volume from 0 mL, found {self.min_ml}")

    @property
    def settings(self) -> dict[str, object]:
        """What the result of a case depends on, as it stands in `report.json`."""
        return {
            "series": None if self.series is None else str(self.series),
            "allow_gaps": self.allow_gaps,
            "uncertainty": self.uncertainty,
            "maps": [self.save_probabilities, self.save_uncertainty, self.save_ct],
            "viewer": self.viewer,
            "keep_identifiers": self.keep_identifiers,
            "min_ml": float(self.min_ml),
        }
