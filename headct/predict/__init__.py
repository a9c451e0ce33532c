"""From a scan to an answer to look at: masks, millilitres, pictures, and a verdict.

    headct predict INPUT --out DIR
    headct correct DIR/CASE MASK --scan INPUT

| room or file | idea |
|---|---|
| `run`, `options` | one call over all cases, and what it can be asked for |
| `task` | one case as a task, in whatever process |
| `case` | one case: read, segment, measure, write |
| `correction` | one case again, once somebody has corrected its label map |
| `input` | `sources`, `archives`: what there is at a path; unpacking zips safely |
| | `head_series`, `scan`: which DICOM series to take, whether its slices make a volume; reading it |
| `model` | `bundle`, `chosen`: a bundle as a function, and those that were asked for |
| | `consensus`: several as one |
| `findings` | `measure`, `lesions`, `midline`, `warnings`: numbers, and what makes them doubtful |
| | `prior`: an earlier scan of the same patient |
| | `parts`: lesions as regions of one type |
| `output` | `dicom_seg`, `dicom_sr`, `dicom_sc`: regions on the original slices, report, picture |
| | `dicom_results`, `dicom_source`, `dicom_codes`, `dicom_uids`: what these are made from |
| | `view`, `pictures`, `page`, `viewer_page`, `index_page`: what is looked at |
| | `templates`: pages by jinja2, from the files of the folder beside it |
| | `storage`: a case's files on disk |
| `results` | a case as plain values, and `report.json` |
"""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from headct.predict.correction import correct
    from headct.predict.options import PredictOptions
    from headct.predict.results import Case, Failure, Lesion, Midline, Model, Prediction, Uncertainty
    from headct.predict.run import predict

__all__ = [
    "Case",
    "Failure",
    "Lesion",
    "Midline",
    "Model",
    "PredictOptions",
    "Prediction",
    "Uncertainty",
    "correct",
    "predict",
]

__getattr__ = lazy_exports(__name__, __file__)
