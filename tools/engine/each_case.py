"""Inference case by case: one that cannot be read or segmented is named at the end and stops no other."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from monai.data import Dataset
from monai.engines import SupervisedEvaluator

from tools.core.errors import InputError, disk_is_full, first_line, one_line

FAILED = "failed"


class EachCaseDataset(Dataset):
    """MONAI's `Dataset`, which gives `{"failed": <one line>}` for a case that its transform raises on."""

    def _transform(self, index: int) -> Any:
        try:
            return super()._transform(index)
        except Exception as error:
            return {FAILED: _line(error, self.data[index])}


class EachCaseEvaluator(SupervisedEvaluator):
    """MONAI's `SupervisedEvaluator` for cases of an `EachCaseDataset`, one in each batch.

    A case that fails leaves no result; after all others its line is raised. A full disk ends the run.
    """

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override] # as MONAI's
        """Infer all cases.

        Raises:
            InputError: some failed; what they say, after the results of the others were written.
        """
        self.failures: list[str] = []
        super().run(global_epoch)
        if self.failures:
            total = self.state.iteration
            count = f"{len(self.failures)} of {total} cases failed: " if total > 1 else ""
            raise InputError(count + "; ".join(self.failures))

    def _iteration(self, engine: Any, batchdata: Any) -> Any:
        if FAILED in batchdata:
            self.failures += batchdata[FAILED]
            return {}
        try:
            return super()._iteration(engine, batchdata)
        except Exception as error:
            case = {key: value[0] for key, value in batchdata.items() if key in ("case", "image")}
            self.failures.append(_line(error, case))
            return {}


def _line(error: Exception, case: Any) -> str:
    """What the user is told of a case; where the fault may be the program's, its traceback is printed now."""
    if disk_is_full(error):
        raise error
    line = one_line(error)
    if line is None:
        traceback.print_exception(error, file=sys.stderr)
        name = case.get("case", "case") if isinstance(case, dict) else "case"
        line = f"{name}: {first_line(error)}"
    return line
