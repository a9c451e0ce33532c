"""`headct reproduce PAPER`: a paper's tables on the data at hand, beside the paper's own figures.

One module per paper, with a dataclass `Options` of what can be chosen there, and a function
`reproduce(setting, options)` that runs what the paper compared and returns the page; and one more in
`headct.reproduce.fair` for each paper whose main claim is put to a fair test.
"""

from __future__ import annotations

import difflib
import importlib
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from headct.cohort.workers import Workers
from tools.core.errors import InputError
from tools.core.files import write_text

__all__ = ["FAIR", "PAPERS", "SIZES", "Setting", "among", "reproduce"]

T = TypeVar("T")

PAPERS = ("abramova2021", "li2021", "hssayeni2020", "dunet")
"""Papers that have the sizes `quick` and `full`."""
SIZES = ("quick", "fair", "full")
FAIR = ("abramova2021", "abramova2022", "dunet", "hssayeni2020", "li2021", "li2021-pretrained")
"""Papers that have a fair test; of `li2021` a second one, of its networks with an encoder from ImageNet."""
SHOWN_AS = {"anatomy": "MAPS"}
"""Options whose value, a folder of this machine, is no part of the command that a page shows."""
NOT_SHOWN = ("finished",)
"""Options that a page's command does without: without them it makes the same page, of more runs."""
OWN_KEYS = (
    "bundle_root", "cache_dir", "ckpt_dir", "ckpt_path", "datalist_name", "dataset_dir", "fold", "output_dir",
    "phantom_dir", "split",
)  # fmt: skip
"""Keys of the configurations that `reproduce` sets itself."""


@dataclass(frozen=True)
class Setting:
    """What a paper's module is asked for.

    Args:
        size: "quick", few configurations, folds and cases, for a CPU; "full", everything, for a GPU; or
            "fair", what it takes to test the main claims on one core of a CPU.
        out: folder of the page and its pictures.
        work_dir: folder of data, weights and scores; what is finished there is not done again.
        jobs: runs at a time, or where they run.
        command: how it was called, for the page.
        keys: of the bundle's configuration, which replace those that the module sets.
    """

    size: str
    out: Path
    work_dir: Path
    jobs: int | Workers = 1
    command: str = ""
    keys: Mapping[str, Any] = field(default_factory=dict)

    @property
    def quick(self) -> bool:
        """Whether it is the size `quick`."""
        return self.size == "quick"


def reproduce(
    paper: str,
    size: str,
    out: str | Path = "docs/results",
    work_dir: str | Path = "runs/reproduce",
    jobs: int | Workers = 1,
    keys: Mapping[str, Any] | None = None,
    **options: Any,
) -> None:
    """Run what a paper compared, and write `OUT/PAPER.md`: the paper's figures and ours side by side.

    What is finished is not done again, and an interrupted training goes on: start the same command again.

    Args:
        paper: one of `PAPERS`, or of `FAIR`.
        size: "quick" runs few configurations, folds and cases: minutes on two CPU cores. The page says what
            is left out. "full" runs everything that the paper compared; meant for a GPU. "fair" tests the
            main claims on heads with the anatomy of real people: hours of one core, and the page is
            `OUT/PAPER_fair.md`.
        out: folder of the page.
        work_dir: folder for data, weights and scores; about a gigabyte.
        jobs: runs at a time, with several GPUs each on its own; or where they run.
        keys: of the bundle's configuration, such as `{"max_epochs": 3}`.
        options: of that paper, see `Options` of its module; None is the default.

    Raises:
        InputError: no such paper, size, option or key, a key that is set here, or a run that failed.
    """
    every = sorted({*PAPERS, *FAIR})
    for option, value, those in (("paper", paper, every), ("size", size, SIZES)):
        if value not in those:
            raise InputError(f"{option}: expected one of {', '.join(those)}, found {value!r}")
    having = FAIR if size == "fair" else PAPERS
    if paper not in having:
        raise InputError(f"--{size}: expected one of the papers {', '.join(having)}, found {paper}")
    part = paper.replace("-", "_")
    module = importlib.import_module(f"{__name__}.fair.{part}" if size == "fair" else f"{__name__}.{part}")
    part += "_fair" * (size == "fair")
    keys = keys or {}
    known = {one.name: one.default for one in fields(module.Options)}
    for name, value in options.items():
        if value is not None and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; the nearest is {near[0]}" if near else ""
            raise InputError(f"{name}: expected one of {', '.join(known)} of {part}, found another{hint}")
    given = {name: value for name, value in options.items() if value is not None}
    given = {n: tuple(v) if isinstance(v, list) else v for n, v in given.items()}
    given = {name: value for name, value in given.items() if value != known[name]}
    for name in keys:
        if name in OWN_KEYS:
            own = "; your copy of CT-ICH is the option root" if "root" in known else ""
            raise InputError(f"{name}: expected a key that `reproduce` leaves to you, found one it sets{own}")
    setting = Setting(
        size=size,
        out=Path(out).resolve(),
        work_dir=Path(work_dir).resolve() / paper / size,
        jobs=jobs,
        command=f"headct reproduce {paper} --{size}{_words(given, keys)}",
        keys=keys,
    )
    start = time.monotonic()
    page = module.reproduce(setting, module.Options(**given))
    path = write_text(setting.out / f"{part}.md", page.rstrip() + "\n")
    print(f"\n{page}\n{path} after {(time.monotonic() - start) / 60:.1f} minutes")


def among(values: Sequence[T], known: Sequence[T], option: str) -> list[T]:
    """The values of an option, if all are known.

    Raises:
        InputError: some are not, or there is none.
    """
    unknown = [value for value in values if value not in known]
    if unknown or not values:
        found = ", ".join(map(str, unknown)) or "none"
        raise InputError(f"{option}: expected some of {', '.join(map(str, known))}, found {found}")
    return list(values)


def _words(options: Mapping[str, Any], keys: Mapping[str, Any]) -> str:
    """Options and keys as they are given on a command line."""
    words = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if name in NOT_SHOWN:
            continue
        if isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-"))
        elif isinstance(value, list | tuple):
            words += [option, ",".join(map(str, value))]
        else:
            words += [option, SHOWN_AS.get(name, str(value))]
    for name, value in keys.items():
        words += ["--set", f"{name}={value}"]
    return "".join(f" {shlex.quote(word)}" for word in words)
