"""All cases at a path, in turn or on several workers: what fails is listed, what is done is kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from headct.cohort.progress import CaseBar
from headct.cohort.tasks import Need, Outcome, run_tasks
from headct.cohort.workers import Workers
from headct.predict.findings.prior import EarlierResults
from headct.predict.input.archives import unpack
from headct.predict.input.scan import neutral_name, study_uid
from headct.predict.input.sources import Source, case_names, find_sources
from headct.predict.model.chosen import ChosenModels
from headct.predict.options import PredictOptions
from headct.predict.output.storage import work_folder, write_summary
from headct.predict.results import Case, Failure, Prediction
from headct.predict.task import CaseTask, UselessModels, do_case
from headct.runs.default_bundle import DEFAULT_BUNDLE
from tools.core.errors import InputError, disk_is_full, first_line, one_line, renamed
from tools.core.names import shown_name

__all__ = ["predict"]


def predict(
    input: str | Path,
    bundle: str | Path | Sequence[str | Path] = DEFAULT_BUNDLE,
    out: str | Path = "predictions",
    options: PredictOptions | None = None,
    *,
    say: Callable[[str], None] = lambda line: None,
    jobs: int | Workers = 1,
    **changes: Any,
) -> Prediction:
    """Segment every scan at a path and write a folder with masks and a report for each.

    A case that fails does not stop the others; it is listed in the result.

    Args:
        input: a NIfTI file, a DICOM folder (of the series of a study the head CT without contrast is taken),
            a zip of either, or a folder of any of these.
        bundle: name or folder of a bundle, or several, or `all`: each one's mask is written, and their
            consensus.
        out: folder for the results: one folder per case, `index.html` and `summary.csv`.
        options: everything else, see there.
        say: is given a line for every case.
        jobs: cases at a time, each in a process of its own, or where they run. Workers on other machines see
            the input, the bundle and `out` under the same paths.
        changes: single options by name, such as `save_ct=True`.

    Raises:
        InputError: nothing can be predicted: no such input, bundle, weights or earlier results, weights that
            do not fit, or no place for the results.
    """
    options = replace(options or PredictOptions(), **changes)
    workers = Workers.of(jobs)
    models = ChosenModels(bundle, options.weights)
    if options.save_uncertainty and not options.uncertainty and all(len(one) == 1 for one in models.weights):
        raise InputError("save_uncertainty: expected `uncertainty`, or an ensemble, found neither")
    earlier = EarlierResults(options.prior)
    input, out = Path(input), Path(out)
    if workers.elsewhere:
        input, out = input.absolute(), out.absolute()
    sources = find_sources(input, skip=out.resolve())
    run = _Run(input, out, models, options, earlier, say, workers)
    with work_folder(out) as work:
        try:
            run.predict_all(sources, work)
        except BaseException:  # an interrupt does not make what was done undone
            with suppress(OSError):
                write_summary(out, run.failures)
            raise
        write_summary(out, run.failures)
    return Prediction(out, run.cases, run.failures)


@dataclass
class _Zip:
    """A zip that was unpacked to `folder`, which goes when no case of it is left; messages name the zip."""

    folder: Path
    shown: dict[str, str]
    left: int = 0


@dataclass
class _Entry:
    """A case of the run: its result or what went wrong, in the order of the input.

    Messages call its study by `uid`, and paths by the names in `shown`.
    """

    name: str
    zip: _Zip | None = None
    uid: str = ""
    shown: Mapping[str, str] = field(default_factory=dict)
    result: Case | Failure | None = None


@dataclass
class _Run:
    """One call of `predict`: what it was asked for, and the cases and failures so far."""

    input: Path
    out: Path
    models: ChosenModels
    options: PredictOptions
    earlier: EarlierResults
    say: Callable[[str], None]
    workers: Workers
    entries: list[_Entry] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    @property
    def cases(self) -> list[Case]:
        return [entry.result for entry in self.entries if isinstance(entry.result, Case)]

    @property
    def failures(self) -> list[Failure]:
        return [entry.result for entry in self.entries if isinstance(entry.result, Failure)]

    def predict_all(self, sources: Sequence[Source], work: Path) -> None:
        device = str(self.options.device or "cuda")
        need = Need(gpus=int(device.startswith("cuda")), pin=":" not in device)
        sent: list[_Entry] = []
        with CaseBar(len(sources), shown=self.options.progress) as bar:
            tasks = self._tasks(sources, work, sent, bar)
            with closing(run_tasks(do_case, tasks, self.workers, need)) as outcomes:
                for outcome in outcomes:
                    self._take(outcome, sent[outcome.number])
                    bar.update()

    def _take(self, outcome: Outcome[Case], entry: _Entry) -> None:
        """What came of a case."""
        with self._failing(entry):
            case = entry.result = outcome.result()
            self.say(f"{entry.name}: {case.verdict}" + (" (done before)" if case.skipped else ""))
        self._leave(entry)

    def _leave(self, entry: _Entry) -> None:
        """What was unpacked goes with the last case of its zip."""
        if entry.zip is not None:
            entry.zip.left -= 1
            if not entry.zip.left:
                shutil.rmtree(entry.zip.folder, ignore_errors=True)

    def _tasks(
        self, sources: Sequence[Source], work: Path, sent: list[_Entry], bar: CaseBar
    ) -> Iterator[tuple[str, CaseTask]]:
        """A task for each case, made when there is room for it: zips are unpacked then."""
        options = self.options
        if self.workers.elsewhere or self.workers.jobs > 1:
            options = replace(options, progress=False)  # bars of several processes would mix
        names = self._neutral(sources, case_names(sources, self.input))
        for source, name in zip(sources, names, strict=True):
            pairs, archive = [(source, name)], None
            if source.is_zip:
                pairs, archive = self._unpack(source.path, name, work)
                bar.more(len(pairs) - 1)
            for inner, own in pairs:
                own, uid = self._unique(own), study_uid(inner)
                outer = archive.shown if archive else {}
                entry = _Entry(own, archive, uid, self._shown(inner, shown_name(own, uid), outer))
                self.entries.append(entry)
                with self._failing(entry):
                    earlier = self.earlier.of(own)
                    if self.earlier.cases and earlier is None:
                        self.say(f"{own}: no earlier result of this name")
                    task = CaseTask(inner, own, self.models, options, work, self.out, earlier)
                if entry.result is not None:
                    self._leave(entry)
                    bar.update()
                    continue
                sent.append(entry)
                bar.set_postfix_str(own)
                yield own, task

    def _unpack(self, path: Path, name: str, work: Path) -> tuple[list[tuple[Source, str]], _Zip | None]:
        """The scans of a zip with their names; none, and a failure in the list, if it has none."""
        folder = work / f"unpacked-{len(self.entries)}" / path.stem
        shown = {str(folder): str(path)}
        archive = _Zip(folder.parent, shown)
        entry = _Entry(name, archive, shown=shown)
        with self._failing(entry):
            folder.mkdir(parents=True)
            unpack(path, folder)
            sources = find_sources(folder)
            for source in sources:
                if source.is_zip:
                    raise InputError(f"{source.path}: expected no zip within a zip, found one")
            names = [name]
            if len(sources) > 1:
                inner = self._neutral(sources, case_names(sources, folder))
                names = [f"{name}_{part}" for part in inner]
            archive.left = len(sources)
            names = [self._neutral([source], [own])[0] for source, own in zip(sources, names, strict=True)]
            return list(zip(sources, names, strict=True)), archive
        self.entries.append(entry)
        shutil.rmtree(folder.parent, ignore_errors=True)
        return [], None

    def _shown(self, source: Source, label: str, outer: dict[str, str]) -> dict[str, str]:
        """What messages call the folders of a DICOM study, unless the user named them."""
        if source.study is None or self.options.keep_identifiers:
            return outer
        files = (*source.study.headers, *source.study.broken)
        folders = {source.path, *(file.parent for file in files)}
        inner = {str(folder): label for folder in folders if folder != self.input}
        typed = {folder: name for folder, name in outer.items() if name == str(self.input)}
        return {**inner, **typed}

    def _unique(self, name: str) -> str:
        """The name, with a number where another case of this run has it: `b` of `a.zip`, and `a_b.nii`."""
        unique, number = name, 2
        while unique.lower() in self.taken:
            unique, number = f"{name}_{number}", number + 1
        self.taken.add(unique.lower())
        return unique

    @contextmanager
    def _failing(self, entry: _Entry) -> Iterator[None]:
        """Turn what goes wrong with one case into its line; a full disk or useless models end the run."""
        try:
            yield
        except Exception as error:
            if disk_is_full(error) or isinstance(error, UselessModels) or self.options.debug:
                raise
            message = one_line(error) or f"{entry.name}: {first_line(error)}"
            message = renamed(" ".join(message.split()), entry.shown)
            entry.result = Failure(entry.name, message, entry.uid)
            self.say(f"{entry.name}: failed")

    def _neutral(self, sources: Sequence[Source], names: Sequence[str]) -> list[str]:
        """Names of cases without the patient's name."""
        if self.options.keep_identifiers:
            return list(names)
        return [neutral_name(name, source) for name, source in zip(names, sources, strict=True)]
