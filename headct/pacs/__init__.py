"""A hospital's archive (PACS) in and out, by DICOMweb.

    headct predict dicomweb+https://HOST/dicom-web --study UID --send

| file | idea |
|---|---|
| `address` | the address as it is typed |
| `client` | a connection: credentials, and what goes wrong in one line |
| `query` | which studies |
| `fetch` | their CT images, into a folder |
| `filing` | results under the patient and the study that the archive knows |
| `send` | what is not there yet is stored |
| `run` | all of it: fetch, predict, send |
"""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from headct.pacs.query import StudyQuery
    from headct.pacs.run import predict_studies

__all__ = ["StudyQuery", "predict_studies"]

__getattr__ = lazy_exports(__name__, __file__)
