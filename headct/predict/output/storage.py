"""Results on disk: a case's folder appears when it is complete, temporary files go in any case."""

from __future__ import annotations

import csv
import errno
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from headct.predict.output.index_page import index_page
from headct.predict.results import Case, Failure
from tools.core.errors import FULL, InputError
from tools.core.files import remove_partial_files, sync_folder, write_text
from tools.core.lock import lock_folder, release

__all__ = ["done_case", "read_failures", "store_case", "work_folder", "write_summary"]

PREFIX = ".predict-"
COLUMNS = (
    "case", "status", "verdict", "volume_ml", "abc_half_ml", "lesions", "largest_ml", "midline_shift_mm",
    "midline_shift_side", "uncertainty", "models", "warnings", "study_uid", "error",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which one begins


@contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """A hidden folder in `out` for conversions and half-written cases, removed at the end, also of an
    interrupt.

    One that a killed run has left behind is removed as well.

    Raises:
        InputError: `out` is no folder, cannot be written to, or its disk is full.
    """
    try:
        created = not out.exists()
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / ".lock", timeout=60):  # for the moment between a folder and its lock
            remove_partial_files(out)
            for old in out.glob(f"{PREFIX}*"):
                with suppress(InputError, OSError):  # of a run that is going on, here or in a container
                    release(lock_folder(old, "prediction"))
                    shutil.rmtree(old, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix=PREFIX, dir=out))
            lock = lock_folder(work, "prediction")
            (out / ".lock").unlink()
    except OSError as error:
        raise InputError(f"{out}: expected a folder to write to, found: {error.strerror}") from error
    try:
        yield work
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise InputError(f"{out}: expected room for the results, found the disk full") from error
    finally:
        release(lock)
        shutil.rmtree(work, ignore_errors=True)
        if created and not any(out.iterdir()):
            out.rmdir()


def done_case(folder: Path, settings: Mapping[str, object], overwrite: bool) -> Case | None:
    """The case that an earlier run has written to `folder`; None if there is none, or it is to be replaced.

    Raises:
        InputError: the folder holds something else, or results of another scan or other settings.
    """
    if overwrite or not folder.exists():
        if folder.exists() and any(folder.iterdir()) and not (folder / "report.json").is_file():
            raise InputError(
                f"{folder}: expected results of an earlier run to overwrite, found another folder"
            )
        return None
    try:
        case = Case.read(folder)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}: expected results of an earlier run, found no report.json that can be read"
        ) from error
    changed = [key for key, value in settings.items() if case.settings.get(key) != value]
    if changed:
        raise InputError(
            f"{folder}: expected results of this scan with these settings, found another "
            f"{', '.join(changed)}: "
            "give --overwrite or another --out"
        )
    return case


def store_case(work: Path, out: Path, case: Case, contents: Mapping[str, bytes]) -> Path:
    """Write all files of a case, then move its folder into place.

    Args:
        work: see `work_folder`; on the same disk as `out`.
        out: where the folder goes, under the case's name; an older one is replaced.
        contents: of every file by its name.
    """
    folder = Path(tempfile.mkdtemp(prefix="case-", dir=work))
    for name, content in contents.items():
        with (folder / name).open("wb") as file:
            file.write(content)
            os.fsync(file.fileno())
    sync_folder(folder)
    folder.chmod(0o755)
    target = out / case.name
    while True:
        if target.exists():
            with suppress(FileNotFoundError):
                target.rename(Path(tempfile.mkdtemp(prefix="old-", dir=work), case.name))
        try:
            folder.rename(target)
            break
        except OSError as error:  # a worker that was given up has put it there meanwhile
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
    sync_folder(out)
    return target


def write_summary(out: Path, failures: Sequence[Failure]) -> None:
    """`summary.csv` and `index.html`: every case in `out`, and those that failed in this run."""
    cases = []
    for report in sorted(out.glob("*/report.json")):
        with suppress(OSError, ValueError):  # a folder that is not ours
            cases.append(Case.read(report.parent))
    rows = [_row(case) for case in cases]
    rows += [
        {"case": f.name, "status": "failed", "study_uid": f.study_uid, "error": f.message} for f in failures
    ]
    if not rows:
        return
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    write_text(out / "summary.csv", stream.getvalue())
    write_text(out / "index.html", index_page(cases, failures))


def read_failures(out: Path) -> list[Failure]:
    """Those that the `summary.csv` of a folder lists."""
    with (out / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("status") == "failed"]
    return [Failure(*(_text(row.get(key) or "") for key in ("case", "error", "study_uid"))) for row in rows]


def _cell(value: object) -> object:
    """A text that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in FORMULA else value


def _text(cell: str) -> str:
    """The text of such a cell."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in FORMULA else cell


def _row(case: Case) -> dict[str, object]:
    doubts = [m.uncertainty.mean_deviation for m in case.models if m.uncertainty is not None]
    return {
        "case": case.name,
        "status": "done",
        "verdict": case.verdict,
        "volume_ml": f"{case.volume_ml:.3f}",
        "abc_half_ml": f"{case.abc_half_ml:.3f}",
        "lesions": len(case.lesions),
        "largest_ml": f"{case.lesions[0].volume_ml:.3f}" if case.lesions else "0",
        "midline_shift_mm": "" if case.midline.shift_mm is None else f"{case.midline.shift_mm:.0f}",
        "midline_shift_side": case.midline.side or "",
        "uncertainty": f"{max(doubts):.4f}" if doubts else "",
        "models": "; ".join(f"{model.bundle} {model.version}" for model in case.models),
        "warnings": len(case.warnings),
        "study_uid": case.scan.get("StudyInstanceUID", ""),
    }
