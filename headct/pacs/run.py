"""Studies of an archive: fetched, predicted, and what was found sent back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from headct.cohort.workers import Workers
from headct.pacs.client import Pacs
from headct.pacs.fetch import fetch_study
from headct.pacs.filing import objects_to_send
from headct.pacs.query import StudyQuery, find_studies
from headct.pacs.send import send_objects
from headct.predict.findings.prior import EarlierResults
from headct.predict.options import PredictOptions
from headct.predict.output.storage import work_folder, write_summary
from headct.predict.results import Case, Failure, Prediction
from headct.predict.run import predict
from headct.runs.default_bundle import DEFAULT_BUNDLE
from tools.core.errors import InputError
from tools.core.names import neutral_name

__all__ = ["predict_studies"]

AT_ONCE = 8
"""Studies on this disk at a time, or as many as there are processes."""


def predict_studies(
    address: str,
    query: StudyQuery,
    bundle: str | Path | Sequence[str | Path] = DEFAULT_BUNDLE,
    out: str | Path = "predictions",
    options: PredictOptions | None = None,
    *,
    send: bool = False,
    say: Callable[[str], None] = lambda line: None,
    jobs: int | Workers = 1,
    **changes: Any,
) -> Prediction:
    """`headct.predict.predict` on studies of a DICOMweb archive.

    Their images lie in a hidden folder in `out` while they are needed.

    Args:
        address: such as `dicomweb+https://host/dicom-web`; see `headct.pacs.client` for credentials.
        query: which studies.
        bundle, out, options, say, jobs, changes: see there.
        send: store DICOM SEG, structured report and picture of every case beside its images; what is there
            already is not stored again.

    Raises:
        InputError: no study, several where one was expected, no answer of the server before anything was
            predicted; see also there.
    """
    options = replace(options or PredictOptions(), **changes)
    workers = Workers.of(jobs)
    pacs = Pacs(address)
    run = _Run(pacs, query, Path(out), options, send, say)
    earlier = EarlierResults(options.prior).cases
    studies = find_studies(pacs, query)
    if len(earlier) == 1 < len(studies):
        raise InputError(
            f"{options.prior}: expected earlier results of each of the {len(studies)} studies, found "
            "those of one: choose its study by --study"
        )
    size = max(AT_ONCE, workers.jobs)
    batches = [studies[start : start + size] for start in range(0, len(studies), size)]
    for batch in batches:
        run.predict_batch(batch, bundle, workers)
    if not run.cases and len(studies) == 1 and run.unfetched:
        raise InputError(run.unfetched[0].message)
    failures = run.unfetched + run.failures
    if run.out.is_dir():
        write_summary(run.out, failures)
    return Prediction(run.out, run.cases, failures + run.unsent)


@dataclass
class _Run:
    """One call of `predict_studies`: what it was asked for, and what came of it so far.

    Attributes:
        failures: of prediction.
        unfetched, unsent: studies that did not come, and cases that were not stored; the latter are not in
            `cases`, though their results are there.
    """

    pacs: Pacs
    query: StudyQuery
    out: Path
    options: PredictOptions
    send: bool
    say: Callable[[str], None]
    cases: list[Case] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unfetched: list[Failure] = field(default_factory=list)
    unsent: list[Failure] = field(default_factory=list)

    def predict_batch(
        self, studies: Sequence[str], bundle: str | Path | Sequence[str | Path], workers: Workers
    ) -> None:
        with work_folder(self.out) as work:
            try:
                folders = dict(self._fetch(studies, work))
            except InputError:  # the server is gone: what failed before is listed
                write_summary(self.out, self.unfetched + self.failures)
                raise
            if not folders:
                return
            result = predict(work, bundle, self.out, self.options, say=self.say, jobs=workers)
            self.failures += result.failures
            for case in result.cases:
                self._finish(case, folders)

    def _fetch(self, studies: Sequence[str], work: Path) -> Iterator[tuple[str, Path]]:
        """The folder of each study that has images; the first failure of the server itself ends the run."""
        with tqdm(unit=" images", desc="fetching", disable=not self.options.progress) as bar:
            for study in studies:
                folder = work / neutral_name(study)
                try:
                    fetch_study(self.pacs, study, folder, self.query.modality, bar.update)
                except InputError as error:
                    if str(error).startswith(self.pacs.url):
                        raise
                    shutil.rmtree(folder, ignore_errors=True)
                    self.unfetched.append(Failure(folder.name, str(error), study))
                    self.say(f"{folder.name}: failed")
                else:
                    yield study, folder

    def _finish(self, case: Case, folders: dict[str, Path]) -> None:
        """Send what was found, if that was asked for."""
        study = case.scan.get("StudyInstanceUID", "")
        try:
            if self.send:
                objects = objects_to_send(case, folders[study])
                stored = send_objects(self.pacs, objects)
                there = len(objects) - stored
                self.say(f"{case.name}: {stored} objects sent" + (f", {there} there before" if there else ""))
        except InputError as error:
            self.unsent.append(Failure(case.name, str(error), study))
            self.say(f"{case.name}: not sent")
        else:
            self.cases.append(case)
