"""One case as a task, in whatever process: what is there is kept, the models stay for the next case."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headct.predict.case import predict_case
from headct.predict.input.sources import Source
from headct.predict.model.chosen import ChosenModels
from headct.predict.options import PredictOptions
from headct.predict.output.storage import done_case
from headct.predict.results import Case
from tools import __version__
from tools.core.errors import InputError

__all__ = ["CaseTask", "UselessModels", "do_case"]


class UselessModels(InputError):
    """The models cannot be loaded, so no case can be predicted: this ends the run."""


@dataclass(frozen=True)
class CaseTask:
    """A scan to predict, and all that its result depends on.

    Args:
        source: no zip.
        name: of the case and its folder.
        models: those of the run; in another process the ones that it has kept.
        options: of the run.
        work: folder for temporary files, on the same disk as `out`.
        out: folder of all results.
        earlier: result of an earlier scan of the patient, to compare with.
    """

    source: Source
    name: str
    models: ChosenModels
    options: PredictOptions
    work: Path
    out: Path
    earlier: Case | None = None


def do_case(task: CaseTask) -> Case:
    """The case's result: of an earlier run, or made now.

    Raises:
        UselessModels: they cannot be loaded.
        InputError: what was found wrong with the scan when it was looked for; see also
            `headct.predict.case.predict_case` and `headct.predict.output.storage.done_case`.
        OSError: nothing can be written, as on a full disk.
    """
    if task.source.fault:
        raise InputError(task.source.fault)
    settings = _settings(task)
    case = done_case(task.out / task.name, settings, task.options.overwrite)
    if case is not None:
        return case
    try:
        models = task.models.load(task.options.device, task.options.progress)
    except InputError as error:
        raise UselessModels(str(error)) from error
    return predict_case(
        task.source, task.name, models, task.options, settings, task.work, task.out, task.earlier
    )


def _settings(task: CaseTask) -> dict[str, Any]:
    """What a result depends on."""
    earlier = task.earlier and hashlib.sha256(task.earlier.as_json().encode()).hexdigest()
    settings = {**task.models.settings, **task.options.settings, "prior": earlier}
    return {"tools": __version__, "input": task.source.digest, **settings}
