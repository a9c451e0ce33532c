"""Thousands of cases on one page: filtered, sorted and paged by a script in it, which fetches nothing.

The page is whole without the script, with the first `PAGE` rows. With it, what is shown stands behind the `#`
of its address: `index.html#verdict=found&from=10&sort=name&page=2` can be kept as a bookmark.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from headct.predict.results import Case, Failure

__all__ = ["PAGE", "lines_of", "listing_data"]

PAGE = 50  # rows at a time; as many cases need no listing
FOUND, NONE, FAILED = 0, 1, 2


def listing_data(cases: Sequence[Case], failures: Sequence[Failure]) -> str:
    """All cases as JSON that may stand within a script element; empty where one page holds all.

    Args:
        cases, failures: in the order in which they are shown without the script.
    """
    if len(cases) + len(failures) <= PAGE:
        return ""
    rows: list[list[object]] = [[FAILED, one.name, 0, one.message, "", "", []] for one in failures]
    rows += map(_row, cases)
    # within a script element nothing but its end is markup
    data = json.dumps({"page": PAGE, "rows": rows}, ensure_ascii=True, separators=(",", ":"))
    return data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def lines_of(case: Case) -> list[str]:
    """What a row says below the verdict and the name."""
    lines = ["Corrected by hand"] if case.corrected else []
    if case.prior:
        lines.append(f"{case.prior.change_ml:+.1f} mL since {case.prior.name}")
    if case.warnings:
        word = "warning" if len(case.warnings) == 1 else "warnings"
        lines.append(f"{len(case.warnings)} {word}: {case.warnings[0]}")
    return [*lines, ", ".join(f"{model.bundle} {model.version}" for model in case.models)]


def _row(case: Case) -> list[object]:
    """What the script makes a row of: kind, name, mL, verdict, report, picture, further lines."""
    folder = quote(case.name)
    report, picture = (f"{folder}/{quote(case.files[key])}" for key in ("html", "png"))
    kind = FOUND if case.hemorrhage else NONE
    return [kind, case.name, round(case.volume_ml, 3), case.verdict, report, picture, lines_of(case)]
