"""All cases at a path, one after the other: read, segment, measure, write."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools import __version__
from tools.errors import InputError
from tools.predict.archives import unpack
from tools.predict.results import Case, Failure, Prediction
from tools.predict.sources import Source, case_names, find_sources
from tools.predict.storage import FULL, done_case, store_case, work_folder, write_summary

if TYPE_CHECKING:
    from tools.predict.bundles import BundleModel

__all__ = ["predict"]


def predict(
    input: str | Path,
    bundle: str | Path | Sequence[str | Path] = "se_unet3d",
    out: str | Path = "predictions",
    *,
    weights: str | Path | Sequence[str | Path] | None = None,
    series: str | int | None = None,
    overwrite: bool = False,
    uncertainty: bool = True,
    save_probabilities: bool = False,
    save_uncertainty: bool = False,
    save_ct: bool = False,
    keep_identifiers: bool = False,
    min_ml: float = 0.1,
    device: str | None = None,
    progress: bool = False,
    debug: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Prediction:
    """Segment every scan at a path and write a folder with masks and a report for each.

    A case that fails does not stop the others; it is listed in the result.

    Args:
        input: a NIfTI file, a DICOM folder (of the series of a study the head CT without contrast is taken),
            a zip of either, or a folder of any of these.
        bundle: name or folder of a bundle, or several: each one's mask is written, and their consensus.
        out: folder for the results: one folder per case, `index.html` and `summary.csv`.
        weights: of each bundle instead of its `models/model.pt`; a pattern that matches several files makes
            an ensemble, whose members' disagreement is the uncertainty.
        series: number or UID of the DICOM series to take.
        overwrite: predict cases again that are there already.
        uncertainty: predict each scan a second time, flipped, to see how far both agree.
        save_probabilities, save_uncertainty, save_ct: also write these volumes as NIfTI (`save_ct`: of DICOM
            input, the straightened scan that the label map lies on).
        keep_identifiers: let the report and the DICOM SEG name the patient.
        min_ml: smaller lesions are not counted as hemorrhage.
        device: where networks run; None lets the bundle choose.
        progress: show bars over cases and windows on the standard error.
        debug: let errors of single cases out, with their traceback.
        say: is given a line for every case.

    Raises:
        InputError: nothing can be predicted: no such input, bundle or weights, or no place for the results.
    """
    from tools.predict.bundles import find_bundle, find_weights

    names = [bundle] if isinstance(bundle, str | Path) else list(bundle)
    if not names:
        raise InputError("bundle: expected one or more names, found none")
    folders = [find_bundle(name) for name in names]
    for i, folder in enumerate(folders):
        if folder.name in [other.name for other in folders[:i]]:
            raise InputError(f"bundle: expected different names, found {folder.name} twice")
    if not float(min_ml) >= 0:
        raise InputError(f"min_ml: expected a volume from 0 mL, found {min_ml}")
    given = [weights] if weights is None or isinstance(weights, str | Path) else list(weights)
    if weights is None:
        given = [None] * len(folders)
    if len(given) != len(folders):
        raise InputError(f"weights: expected one for each of {len(folders)} bundles, found {len(given)}")
    chosen = [find_weights(folder, entry) for folder, entry in zip(folders, given, strict=True)]
    out = Path(out)
    sources = find_sources(input, skip=out.resolve())
    job = _Job(
        Path(input), out, folders, chosen, None if series is None else str(series), overwrite, uncertainty,
        save_probabilities, save_uncertainty, save_ct, keep_identifiers, float(min_ml), device, progress,
        debug, say,
    )  # fmt: skip
    with work_folder(out) as work:
        try:
            job.run(sources, work)
        finally:  # an interrupt does not make what was done undone
            with suppress(OSError):
                write_summary(out, job.failures)
    return Prediction(out, job.cases, job.failures)


@dataclass
class _Job:
    """The arguments of one call, and what has come of it."""

    input: Path
    out: Path
    folders: list[Path]
    weights: list[list[Path]]
    series: str | None
    overwrite: bool
    uncertainty: bool
    save_probabilities: bool
    save_uncertainty: bool
    save_ct: bool
    keep_identifiers: bool
    min_ml: float
    device: str | None
    progress: bool
    debug: bool
    say: Callable[[str], None]
    cases: list[Case] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    models: list[BundleModel] = field(default_factory=list)
    digests: list[list[str]] = field(default_factory=list)

    def run(self, sources: Sequence[Source], work: Path) -> None:
        from tools.files import file_hash

        self.digests = [[file_hash(path) for path in paths] for paths in self.weights]
        names = self._neutral(sources, case_names(sources, self.input))
        for source, name in self._bar(list(zip(sources, names, strict=True))):
            if not source.is_zip:
                self._guarded(source, name, work)
                continue
            with self._failing(name, {}), _unpacked(source.path, work) as folder:
                shown = {str(folder): str(source.path)}
                with self._failing(name, shown):
                    inner = find_sources(folder)
                    inner_names = case_names(inner, folder)
                    if len(inner) == 1:
                        inner_names = [name]
                    else:
                        inner_names = [f"{name}_{part}" for part in self._neutral(inner, inner_names)]
                    for part, part_name in zip(inner, inner_names, strict=True):
                        if part.is_zip:
                            raise InputError(f"{part.path}: expected no zip within a zip, found one")
                        self._guarded(part, self._neutral([part], [part_name])[0], work, shown)

    def _neutral(self, sources: Sequence[Source], names: Sequence[str]) -> list[str]:
        """Names of cases without the patient's name."""
        from tools.predict.scan import neutral_name

        if self.keep_identifiers:
            return list(names)
        return [neutral_name(name, source) for name, source in zip(names, sources, strict=True)]

    def _bar(self, pairs: list[tuple[Source, str]]) -> Iterator[tuple[Source, str]]:
        if not self.progress:
            yield from pairs
            return
        from tqdm import tqdm

        with tqdm(pairs, desc="cases", unit="case") as bar:
            for source, name in bar:
                bar.set_postfix_str(name)
                yield source, name

    def _guarded(self, source: Source, name: str, work: Path, shown: dict[str, str] | None = None) -> None:
        with self._failing(name, shown or {}):
            settings = self._settings(source)
            case = done_case(self.out / name, settings, self.overwrite)
            if case is None:
                self._load()
                case = self._case(source, name, settings, work)
            self.cases.append(case)
            self.say(f"{name}: {case.verdict}" + (" (done before)" if case.skipped else ""))

    @contextmanager
    def _failing(self, name: str, shown: dict[str, str]) -> Iterator[None]:
        """Turn what goes wrong with one case into its line; a full disk or useless weights end the run."""
        try:
            yield
        except _Abort as error:
            raise InputError(str(error)) from error
        except Exception as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            if self.debug:
                raise
            from tools.predict.bundles import input_error, one_line

            message = str(input_error(error) or f"{name}: {one_line(error)}")
            for path, public in shown.items():
                message = message.replace(path, public)
            self.failures.append(Failure(name, " ".join(message.split())))
            self.say(f"{name}: failed")

    def _load(self) -> None:
        """Load the bundles, the first time that a case needs them."""
        if self.models:
            return
        from tools.predict.bundles import BundleModel

        try:
            self.models = [
                BundleModel(folder, paths, self.device, self.progress)
                for folder, paths in zip(self.folders, self.weights, strict=True)
            ]
        except InputError as error:
            raise _Abort(str(error)) from error

    def _settings(self, source: Source) -> dict[str, Any]:
        """What a result depends on."""
        if source.study is None:
            from tools.files import file_hash

            digest = file_hash(source.path)
        else:
            uids = sorted(str(h.get("SOPInstanceUID", "")) for h in source.study.headers.values())
            digest = hashlib.sha256("\n".join(uids).encode()).hexdigest()
        return {
            "tools": __version__,
            "bundles": [folder.name for folder in self.folders],
            "weights": self.digests,
            "input": digest,
            "series": self.series,
            "uncertainty": self.uncertainty,
            "maps": [self.save_probabilities, self.save_uncertainty, self.save_ct],
            "keep_identifiers": self.keep_identifiers,
            "min_ml": self.min_ml,
        }

    def _case(self, source: Source, name: str, settings: dict[str, Any], work: Path) -> Case:
        from tools.predict.measure import measure
        from tools.predict.page import report_page
        from tools.predict.pictures import make_view, report_picture
        from tools.predict.scan import read_scan

        clock = _Clock()
        scan = read_scan(source, self.series, work)
        clock.lap("read")
        results = []
        for model in self.models:
            results.append(model.segment(scan.volume, self.uncertainty))
            clock.lap(model.name)
        measured = measure(name, scan, self.models, results, self.min_ml)
        clock.lap("measure")
        case = measured.case
        case.settings = settings
        case.identifiers = scan.identifiers if self.keep_identifiers else {}
        contents: dict[str, bytes] = {}

        def add(key: str, file: str, content: bytes) -> None:
            case.files[key] = file
            contents[file] = content

        affine = scan.volume.affine.cpu().numpy()
        for key, file, array in self._volumes(name, measured.label, results, scan):
            from tools.files import nifti_bytes

            add(key, file, nifti_bytes(array, affine))
        if scan.headers:
            from tools.predict.dicom_seg import dicom_seg

            seg = dicom_seg(measured.label, affine, scan.headers, self.models, self.keep_identifiers)
            add("dicom_seg", f"{name}_seg.dcm", seg)
        clock.lap("masks")
        view = make_view(measured)
        picture = report_picture(measured, view)
        case.files |= {"html": "report.html", "png": "report.png", "json": "report.json"}
        add("png", "report.png", picture)
        add("html", "report.html", report_page(case, view, picture).encode())
        clock.lap("report")
        case.seconds = clock.laps
        add("json", "report.json", case.as_json().encode())
        case.folder = store_case(work, self.out, case, contents)
        return case

    def _volumes(
        self, name: str, label: Any, results: Sequence[Any], scan: Any
    ) -> Iterator[tuple[str, str, Any]]:
        import numpy as np

        yield "label", f"{name}_seg.nii.gz", label
        if len(self.models) > 1:
            for model, result in zip(self.models, results, strict=True):
                yield f"label_{model.name}", f"{name}_{model.name}_seg.nii.gz", result.label.numpy()
        for wanted, what, attribute in (
            (self.save_probabilities, "prob", "probability"),
            (self.save_uncertainty, "uncertainty", "deviation"),
        ):
            for model, result in zip(self.models, results, strict=True):
                values = getattr(result, attribute)
                if wanted and values is not None:
                    part = f"_{model.name}" if len(self.models) > 1 else ""
                    yield f"{what}{part}", f"{name}{part}_{what}.nii.gz", values.numpy()
        if self.save_ct and scan.kind == "dicom":
            yield "ct", f"{name}_ct.nii.gz", scan.volume.as_tensor()[0].numpy().round().astype(np.int16)


class _Abort(Exception):
    """What holds for every case, and so ends the run."""


class _Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.laps[phase] = round(now - self._last, 3)
        self._last = now


@contextmanager
def _unpacked(archive: Path, work: Path) -> Iterator[Path]:
    folder = work / "unpacked" / archive.stem
    folder.mkdir(parents=True)
    try:
        unpack(archive, folder)
        yield folder
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)
