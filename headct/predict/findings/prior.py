"""A case beside the earlier scan of the same patient: has the bleed grown?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from headct.predict.results import Case, Prior
from tools.core.errors import InputError

__all__ = ["EarlierResults", "compare", "compare_again"]


class EarlierResults:
    """What an earlier run has found: one case, or all cases of a folder of results by their names.

    Args:
        path: a case's folder or its report (HTML or JSON), or a folder of results; None for none.

    Raises:
        InputError: there is no result, or it cannot be read.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.cases: dict[str, Case] = {}
        self._for = ""
        if path is None:
            return
        folder = Path(path)
        folder = folder if folder.is_dir() else folder.parent
        reports = [folder / "report.json"]
        if not reports[0].is_file():
            reports = sorted(folder.glob("*/report.json")) if Path(path).is_dir() else []
        if not reports or not Path(path).exists():
            raise InputError(f"{path}: expected results of an earlier scan, found no report.json")
        for report in reports:
            try:
                case = Case.read(report.parent)
            except (OSError, ValueError) as error:
                raise InputError(
                    f"{report}: expected the result of an earlier scan, found one that cannot be read: "
                    "predict that scan again"
                ) from error
            self.cases[case.name] = case

    def of(self, name: str) -> Case | None:
        """The earlier case of a case; where there is a single one, that.

        Raises:
            InputError: there is a single one, and another case has had it.
        """
        if len(self.cases) != 1:
            return self.cases.get(name)
        if self._for not in ("", name):
            raise InputError(
                f"{name}: expected earlier results of each scan, found those of one, which were "
                f"for {self._for}"
            )
        self._for = name
        return next(iter(self.cases.values()))


def compare(earlier: Case, case: Case) -> Prior:
    """How far the volumes of a case differ from those of the earlier one."""
    return _prior(
        case, earlier.name, earlier.verdict, earlier.volume_ml, len(earlier.lesions), earlier.types_ml,
        _doubts(earlier, case),
    )  # fmt: skip


def compare_again(prior: Prior, case: Case) -> Prior:
    """The same after the case was corrected, of which the earlier one's report is not needed."""
    then = {name: pair[0] for name, pair in prior.types_ml.items() if pair[0]}
    doubts = list(dict.fromkeys([*prior.doubts, "The present result was corrected by hand."]))
    return _prior(case, prior.name, prior.verdict, prior.volume_ml, prior.lesions, then, doubts)


def _prior(
    case: Case,
    name: str,
    verdict: str,
    volume_ml: float,
    lesions: int,
    then: Mapping[str, float],
    doubts: list[str],
) -> Prior:
    change, now = case.volume_ml - volume_ml, case.types_ml
    types = {kind: (then.get(kind, 0.0), now.get(kind, 0.0)) for kind in {**then, **now}}
    percent = 100 * change / volume_ml if volume_ml else None
    return Prior(name, verdict, volume_ml, lesions, change, percent, types, doubts)


def _doubts(earlier: Case, case: Case) -> list[str]:
    """Sentences on what differs besides the blood."""
    found = []
    if earlier.settings.get("input") == case.settings.get("input"):
        found.append("The earlier result is of the same images.")
    if [model.sha256 for model in earlier.models] != [model.sha256 for model in case.models]:
        found.append("Other models or weights measured the earlier scan: a change may be theirs.")
    if earlier.min_ml != case.min_ml:
        found.append(f"Lesions were counted from {earlier.min_ml:g} mL then, from {case.min_ml:g} mL now.")
    thickness = [one.scan.get("slice thickness") for one in (earlier, case)]
    if thickness[0] != thickness[1] and all(thickness):
        found.append(f"Slices of {thickness[0]} then, of {thickness[1]} now.")
    if (earlier.corrected is None) != (case.corrected is None):
        found.append(f"The {'earlier' if earlier.corrected else 'present'} result was corrected by hand.")
    return found
