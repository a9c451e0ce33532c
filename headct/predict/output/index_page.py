"""All cases of a folder on one page, those with the most blood first: where a reader begins."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from headct.predict.output.listing import PAGE, lines_of, listing_data
from headct.predict.output.templates import asset, render
from headct.predict.results import Case, Failure

__all__ = ["index_page"]


def index_page(cases: Sequence[Case], failures: Sequence[Failure]) -> str:
    """HTML with a link to the report of every case, by paths relative to the folder of the cases.

    Args:
        cases: in any order.
        failures: cases without a result.
    """
    ordered = sorted(cases, key=lambda case: (not case.hemorrhage, -case.volume_ml, case.name))
    found = sum(case.hemorrhage for case in cases)
    counts = [f"{len(cases)} {'case' if len(cases) == 1 else 'cases'}", f"{found} with hemorrhage found"]
    if failures:
        counts.append(f"{len(failures)} failed")
    title = f"Head CT: {', '.join(counts)}"
    data = listing_data(ordered, failures)
    shown = ordered[: max(0, PAGE - len(failures))]
    return render(
        "index.html.j2",
        script=asset("listing.js") if data else "",
        sources="img-src 'self' file:",  # beside the page, also where it is opened from a disk
        title=title,
        data=Markup(data),
        cases=[(case, lines_of(case)) for case in shown],
        failures=failures[:PAGE],
    )
