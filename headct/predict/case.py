"""One case: read, segment, measure, write; and again, once somebody has corrected its label map."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Orientation

from headct.predict.findings.head import find_head
from headct.predict.findings.measure import Measured, measure, measure_label
from headct.predict.findings.prior import compare, compare_again
from headct.predict.input.scan import Scan, read_scan
from headct.predict.input.sources import Source
from headct.predict.model.bundle import BundleModel, Segmentation
from headct.predict.options import PredictOptions
from headct.predict.output.page import report_page
from headct.predict.output.pictures import report_picture
from headct.predict.output.storage import store_case
from headct.predict.output.view import AUTOMATIC, make_view
from headct.predict.results import Case, Correction
from tools.core.errors import InputError, first_line
from tools.core.files import file_hash, nifti_bytes
from tools.core.tensors import plain
from tools.volumes.read import read_label

__all__ = ["correct_case", "predict_case"]


def predict_case(
    source: Source,
    name: str,
    models: Sequence[BundleModel],
    options: PredictOptions,
    settings: dict[str, Any],
    work: Path,
    out: Path,
    earlier: Case | None = None,
) -> Case:
    """Predict one scan, and put the folder of its results into place.

    Args:
        source: no zip.
        name: of the case and its folder.
        models: at least one.
        options: of the whole run.
        settings: what the result depends on; kept in `report.json`.
        work: folder for temporary files, on the same disk as `out`.
        out: folder of all results.
        earlier: result of an earlier scan, to compare volumes with.

    Raises:
        InputError: the scan cannot be read or is no head CT.
    """
    clock = _Clock()
    scan = read_scan(source, options.series, work, options.allow_gaps)
    clock.lap("read")
    head = find_head(scan)
    clock.lap("head")
    results = []
    for model in models:
        results.append(model.segment(scan.volume, options.uncertainty))
        clock.lap(model.name)
    measured = measure(name, scan, head, models, results, float(options.min_ml))
    clock.lap("measure")
    case = measured.case
    case.settings = settings
    case.identifiers = scan.identifiers if options.keep_identifiers else {}
    case.prior = None if earlier is None else compare(earlier, case)
    contents = _Contents(case, scan, source.path)
    for key, file, array in _volumes(name, measured.label, models, results, scan, options):
        contents.add_volume(key, file, array)
    contents.add_dicom(measured, options.keep_identifiers)
    clock.lap("masks")
    contents.add_report(measured, options.save_probabilities, options.viewer)
    clock.lap("report")
    case.seconds = clock.laps
    case.folder = store_case(work, out, case, contents.finish())
    return case


def correct_case(old: Case, source: Source, mask: Path, work: Path, out: Path) -> Case:
    """Measure a label map that somebody has corrected, and renew the folder of the case.

    The label map of the models stays beside it, as `CASE_automatic_seg.nii.gz`.

    Args:
        old: the result, as it was read.
        source: the scan that it is of; no zip.
        mask: the corrected label map, on the grid of that of the result.
        work, out: see `predict_case`.

    Raises:
        InputError: the label map lies on another grid, or holds values that the result has no name for.
    """
    series, gaps = old.settings.get("series"), bool(old.settings.get("allow_gaps"))
    scan = read_scan(source, series, work, gaps)
    label = plain(read_label(mask, None, like=scan.volume))[0].to(torch.uint8)
    unknown = sorted(set(label.unique().tolist()) - {0, *old.classes})
    if unknown:
        known = ", ".join(f"{value} ({name})" for value, name in old.classes.items())
        raise InputError(f"{mask}: expected the values 0, {known}, found {unknown[0]}")
    measured = measure_label(old.name, scan, find_head(scan), label, old.classes, old.models, old.min_ml)
    case = measured.case
    case.settings, case.seconds, case.consensus = old.settings, old.seconds, old.consensus
    case.identifiers = old.identifiers
    contents = _Contents(case, scan, source.path)
    renewed = ("label", "dicom_seg", "dicom_sr", "html", "png", "json", "viewer")
    for key, file in old.files.items():
        if key not in renewed:
            contents.add(key, file, old.path(key).read_bytes())
    automatic = old.path("automatic" if old.corrected else "label")
    contents.add("automatic", f"{case.name}_automatic_seg.nii.gz", automatic.read_bytes())
    automatic_ml = old.corrected.automatic_ml if old.corrected else old.volume_ml
    before = read_label(automatic, None, like=scan.volume)
    measured.parts = {AUTOMATIC: Orientation("RAS", labels=None)(before)[0].numpy()}
    both = [plain(before)[0] > 0, label > 0]
    total = int(both[0].sum() + both[1].sum())
    dice = 2 * int((both[0] & both[1]).sum()) / total if total else 1.0
    case.corrected = Correction(file_hash(mask), automatic_ml, dice)
    case.prior = None if old.prior is None else compare_again(old.prior, case)
    contents.add_volume("label", f"{case.name}_seg.nii.gz", label.numpy())
    contents.add_dicom(measured, bool(old.settings.get("keep_identifiers")))
    contents.add_report(measured, viewer="viewer" in old.files)
    case.folder = store_case(work, out, case, contents.finish())
    return case


class _Contents:
    """The files of a case, before they are on the disk; each is named in `case.files`."""

    def __init__(self, case: Case, scan: Scan, path: Path) -> None:
        self.case, self.scan, self.path = case, scan, path
        self.affine = scan.volume.affine.cpu().numpy()
        self.files: dict[str, bytes] = {}

    def add(self, key: str, file: str, content: bytes) -> None:
        self.case.files[key] = file
        self.files[file] = content

    def add_volume(self, key: str, file: str, array: np.ndarray) -> None:
        """As NIfTI, with the forms of the scan's file."""
        like = self.path if self.scan.kind == "nifti" else None
        self.add(key, file, nifti_bytes(array, self.affine, like, result=True))

    def add_dicom(self, measured: Measured, keep_identifiers: bool) -> None:
        """DICOM SEG and structured report, where the scan is DICOM and allows them."""
        if not self.scan.headers:
            return
        from headct.predict.output.dicom_results import dicom_results  # NIfTI needs no DICOM packages

        try:
            for key, ending, content in dicom_results(measured, self.scan.headers, keep_identifiers):
                self.add(key, f"{self.case.name}_{ending}", content)
        except Exception as error:  # highdicom and pydicom raise many on headers that miss something
            missing = "structured report" if "dicom_seg" in self.case.files else "DICOM SEG"
            self.case.warnings.append(
                f"No {missing} was written, since the images do not allow it: {first_line(error)}"
            )

    def add_report(self, measured: Measured, probability: bool = False, viewer: bool = False) -> None:
        """The pages; the last to be added before `finish`, since they name the others."""
        if viewer:
            from headct.predict.output.viewer_page import viewer_page  # large, and seldom asked for

            self.add("viewer", "viewer.html", viewer_page(measured).encode())
        view = make_view(measured, probability)
        picture = report_picture(self.case, view)
        self.case.files |= {"html": "report.html", "png": "report.png", "json": "report.json"}
        self.add("png", "report.png", picture)
        self.add("html", "report.html", report_page(self.case, view, picture).encode())

    def finish(self) -> dict[str, bytes]:
        """All files by name, with `report.json`."""
        self.add("json", "report.json", self.case.as_json().encode())
        return self.files


def _volumes(
    name: str,
    label: np.ndarray,
    models: Sequence[BundleModel],
    results: Sequence[Segmentation],
    scan: Scan,
    options: PredictOptions,
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Key, file name and values (X, Y, Z) of each NIfTI file to write."""
    yield "label", f"{name}_seg.nii.gz", label
    if len(models) > 1:
        for model, result in zip(models, results, strict=True):
            yield f"label_{model.name}", f"{name}_{model.name}_seg.nii.gz", result.label.numpy()
    for wanted, what, attribute in (
        (options.save_probabilities, "prob", "probability"),
        (options.save_uncertainty, "uncertainty", "deviation"),
    ):
        for model, result in zip(models, results, strict=True):
            values = getattr(result, attribute) if wanted else None
            if values is not None:
                part = f"_{model.name}" if len(models) > 1 else ""
                yield f"{what}{part}", f"{name}{part}_{what}.nii.gz", values.numpy()
    if options.save_ct and scan.kind == "dicom":
        yield "ct", f"{name}_ct.nii.gz", scan.volume.as_tensor()[0].numpy().round().astype(np.int16)


class _Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.laps[phase] = round(now - self._last, 3)
        self._last = now
