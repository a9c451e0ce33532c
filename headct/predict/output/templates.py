"""Pages by jinja2: what a file or a header says is text in them, and only their own script runs."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["asset", "render"]

FOLDER = Path(__file__).with_name("templates")


def render(template: str, script: str = "", sources: str = "img-src data:", **values: Any) -> str:
    """A page as HTML in one file.

    Its content security policy lets no request leave the page and no script run but `script`.

    Args:
        template: name of a file in the folder `templates`.
        script: what the page runs.
        sources: further rules of the policy, such as where pictures may come from.
        values: what the template shows.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; {sources}"
    return _environment().get_template(template).render(script=Markup(script), policy=policy, **values)


@cache
def asset(name: str) -> str:
    """Text of a file in the folder `templates`, as it is."""
    return (FOLDER / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["asset"] = lambda name: Markup(asset(name))
    environment.filters["ml"] = lambda volume: f"{volume:.1f}" if abs(volume) >= 1 else f"{volume:.2f}"
    environment.filters["quote"] = quote
    return environment
