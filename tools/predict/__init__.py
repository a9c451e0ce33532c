"""From a scan to an answer to look at: masks, millilitres, pictures, and a verdict.

    python -m tools predict INPUT --bundle se_unet3d --out DIR

| file | idea |
|---|---|
| `sources`, `archives` | what there is at a path; unpacking zips safely |
| `head_series`, `scan` | which DICOM series to take, whether its slices make a volume; reading it |
| `bundles`, `consensus` | a bundle as a function; several of them as one |
| `measure`, `findings`, `midline`, `quality` | numbers: lesions, midline shift, warnings |
| `dicom_seg` | the label map on the original DICOM slices |
| `pictures`, `page`, `page_parts` | what is looked at: `report.html`, `report.png` |
| `results`, `storage` | a case as plain values; its files on disk |
| `run`, `command` | one call over all cases; the command line |
"""

from __future__ import annotations

from tools.predict.command import predict_command
from tools.predict.results import Case, Failure, Lesion, Midline, Model, Prediction, Uncertainty
from tools.predict.run import predict

__all__ = [
    "Case",
    "Failure",
    "Lesion",
    "Midline",
    "Model",
    "Prediction",
    "Uncertainty",
    "predict",
    "predict_command",
]
