"""A case's DICOM objects, in the order in which they refer to each other."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from headct.predict.findings.measure import Measured
from headct.predict.findings.parts import find_parts
from headct.predict.output.dicom_seg import dicom_seg
from headct.predict.output.dicom_source import source_images
from headct.predict.output.dicom_sr import dicom_sr
from headct.predict.output.dicom_uids import ResultUIDs
from tools.core.extras import extra_packages
from tools.core.files import RESULT

with extra_packages("DICOM SEG"):
    import pydicom

__all__ = ["dicom_results"]


def dicom_results(
    measured: Measured, headers: Mapping[Path, pydicom.Dataset], keep_identifiers: bool = False
) -> Iterator[tuple[str, str, bytes]]:
    """The label map as DICOM SEG, then the findings as structured report.

    Args:
        measured: the case.
        headers: of the original slices by name, see `tools.volumes.dicom_file`.
        keep_identifiers: see `headct.predict.output.dicom_source`.

    Yields:
        key, end of the file's name, and content of each.
    """
    case = measured.case
    source = source_images(headers, keep_identifiers)
    uids = ResultUIDs(case, source.uids)
    numbers, parts = find_parts(measured.final, measured.hu, measured.affine, case)
    seg = dicom_seg(numbers, measured.affine, parts, source, case, uids)
    yield "dicom_seg", "seg.dcm", _content(seg)
    yield "dicom_sr", "sr.dcm", _content(dicom_sr(parts, seg, source, case, uids))


def _content(dataset: pydicom.Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.preamble = RESULT.ljust(128, b"\0")
    dataset.save_as(stream)
    return stream.getvalue()
