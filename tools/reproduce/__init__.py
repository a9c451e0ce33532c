"""`python -m tools reproduce PAPER`: a paper's tables on the data at hand, beside the paper's own figures.

One module per paper, with a function `reproduce(setting)` that runs what the paper compared (`runs`) and
returns the page (`page`).
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.errors import InputError
from tools.metrics.tables import write_atomically

__all__ = ["Setting", "papers", "reproduce"]

PAPERS = ("abramova2021", "li2021", "hssayeni2020", "dunet")


@dataclass(frozen=True)
class Setting:
    """What a paper's module is asked for.

    Args:
        quick: few configurations, folds and cases, for a CPU; else everything, for a GPU.
        out: folder of the page and its pictures.
        work_dir: folder of data, weights and scores; what is finished there is not done again.
        jobs: runs at a time.
        command: how it was called, for the page.
        options: further `--key value`, which each paper's module documents.
    """

    quick: bool
    out: Path
    work_dir: Path
    jobs: int = 1
    command: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


def papers() -> list[str]:
    """Names of the papers that can be reproduced."""
    return [name for name in PAPERS if importlib.util.find_spec(f"{__name__}.{name}")]


def reproduce(
    paper: str,
    quick: bool = False,
    full: bool = False,
    out: str = "docs/results",
    work_dir: str = "runs/reproduce",
    jobs: int = 1,
    **options: Any,
) -> None:
    """Run what a paper compared, and write `OUT/PAPER.md`: the paper's figures and ours side by side.

    What is finished is not done again, and an interrupted training goes on: start the same command again.

    Args:
        paper: abramova2021, li2021, hssayeni2020 or dunet.
        quick: few configurations, folds and cases: minutes on two CPU cores. The page says what is left out.
        full: everything that the paper compared; meant for a GPU.
        out: folder of the page.
        work_dir: folder for data, weights and scores; about a gigabyte.
        jobs: runs at a time; with several GPUs each gets its own.
        options: further `--key value` of that paper's module, see `tools/reproduce/PAPER.py`.

    Raises:
        InputError: no such paper, not one of quick and full, or a run that failed.
    """
    if paper not in papers():
        raise InputError(f"paper: expected one of {', '.join(papers())}, found {paper!r}")
    if quick == full:
        found = "both" if quick else "none"
        raise InputError(f"reproduce: expected one of --quick and --full, found {found}")
    size = "quick" if quick else "full"
    extra = "".join(f" --{key} {value}" for key, value in options.items())
    setting = Setting(
        quick=bool(quick),
        out=Path(out).resolve(),
        work_dir=Path(work_dir).resolve() / paper / size,
        jobs=jobs,
        command=f"python -m tools reproduce {paper} --{size}{extra}",
        options=options,
    )
    start = time.monotonic()
    page = importlib.import_module(f"{__name__}.{paper}").reproduce(setting)
    path = write_atomically(setting.out / f"{paper}.md", page.rstrip() + "\n")
    print(f"\n{page}\n{path} after {(time.monotonic() - start) / 60:.1f} minutes")
