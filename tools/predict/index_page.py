"""All cases of a folder on one page, those with the most blood first: where a reader begins."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from tools.predict.page_parts import STYLE
from tools.predict.results import Case, Failure

__all__ = ["index_page"]

LIST_STYLE = """
main { grid-template-columns: minmax(0, 1fr); }
a.row { display: grid; grid-template-columns: 220px minmax(0, 1fr); gap: 16px; color: inherit;
  text-decoration: none; background: var(--paper); border-radius: 10px; padding: 12px;
  border-left: 10px solid #3b82a0; }
a.row.found { border-color: #d7263d; } a.row:hover, a.row:focus-visible { background: #f6f9fd; }
a.row img { width: 100%; border-radius: 6px; background: #000; }
.failed { border-left: 10px solid #8a6d00; overflow-wrap: anywhere; }
@media (max-width: 860px) { a.row { grid-template-columns: 96px minmax(0, 1fr); } }
"""


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
    note = "Research use only, not a medical device. Not for diagnosis or treatment."
    rows = "\n".join([*map(_failure, failures), *map(_row, ordered)])
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}{LIST_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{title}</h1><p>Most blood first. A case without a finding may still bleed.</p>"
        f'<p class="only">{note}</p></header>\n{rows}\n</main>\n</body>\n</html>\n'
    )


def _row(case: Case) -> str:
    folder = quote(case.name)
    lines = [f"<b>{escape(case.name)}</b>"]
    if case.warnings:
        word = "warning" if len(case.warnings) == 1 else "warnings"
        lines.append(f"{len(case.warnings)} {word}: {escape(case.warnings[0])}")
    lines.append(escape(", ".join(f"{model.bundle} {model.version}" for model in case.models)))
    return (
        f'<a class="row{" found" if case.hemorrhage else ""}" href="{folder}/{quote(case.files["html"])}">'
        f'<img src="{folder}/{quote(case.files["png"])}" alt="" loading="lazy"><div>'
        f"<h2>{escape(case.verdict)}</h2>" + "".join(f"<p>{line}</p>" for line in lines) + "</div></a>"
    )


def _failure(failure: Failure) -> str:
    name, message = escape(failure.name), escape(failure.message)
    return f'<section class="failed"><h2>{name}: failed</h2><p>{message}</p></section>'
