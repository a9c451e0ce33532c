"""Every test: the tools in one process, each bundle in a process of its own, one closing line for all.

Two bundles can't share a process: each has a package `scripts`, and Python keeps the first. Two processes run
at a time where there are two cores, each with its share of the threads; what they print comes when they end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

TESTS = Path(__file__).resolve().parent
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
JOBS = min(2, CORES)


LIMIT = 3600.0  # seconds for one folder
HUNG = "Timeout ("
"""How the stacks of a test begin that ran into `faulthandler_timeout` of pyproject.toml."""


def run(folder: Path, extra: list[str], again: bool = True) -> dict[str, int]:
    """pytest on one folder; how many tests passed, failed (errors too) and were skipped.

    A test that hangs ends pytest, which prints what each thread did. The folder is then run once more, so
    that one program that never answered does not hide the result of all other tests.
    """
    # into a file: a pipe would stay open as long as any process that a test left behind
    with tempfile.NamedTemporaryFile(suffix=".xml") as report, tempfile.TemporaryFile() as output:
        command = [sys.executable, "-m", "pytest", str(folder), "--durations=5", f"--junitxml={report.name}"]
        environment = {"OMP_NUM_THREADS": str(CORES // JOBS), **os.environ}
        try:
            code = subprocess.run(
                [*command, *extra], cwd=TESTS.parent, env=environment, stdout=output,
                stderr=subprocess.STDOUT, timeout=LIMIT,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            code = 1
        output.seek(0)
        text = output.read().decode(errors="replace")
        print(f"\n{folder.relative_to(TESTS.parent)}\n{text}", end="", flush=True)
        try:
            suites = list(ElementTree.parse(report.name).getroot().iter("testsuite"))
        except ElementTree.ParseError:  # pytest itself broke down
            suites = []
    if not suites and HUNG in text and again:
        print(
            f"\n{folder.relative_to(TESTS.parent)}: a test hung (see above); all are run once more",
            flush=True,
        )
        return run(folder, extra, again=False)
    count = {
        key: sum(int(s.get(key, 0)) for s in suites) for key in ("tests", "failures", "errors", "skipped")
    }
    failed = count["failures"] + count["errors"]
    return {
        "passed": count["tests"] - failed - count["skipped"],
        "failed": failed or int(code != 0),
        "skipped": count["skipped"],
    }


def size(part: Path) -> int:
    """Bytes of its tests, which tell about how long they take."""
    return sum(file.stat().st_size for file in ([part] if part.is_file() else part.rglob("test_*.py")))


def main() -> int:
    bundles = sorted(path for path in (TESTS / "bundles").iterdir() if list(path.glob("test_*.py")))
    parts = [TESTS / "tools", TESTS / "headct", *sorted(TESTS.glob("test_*.py")), *bundles]
    parts.sort(key=size, reverse=True)  # the longest first, so that no core waits for them at the end
    with ThreadPoolExecutor(JOBS) as pool:
        results = list(pool.map(partial(run, extra=sys.argv[1:]), parts))
    total = {key: sum(result[key] for result in results) for key in results[0]}
    print("\n" + ", ".join(f"{count} {key}" for key, count in total.items()))
    return int(total["failed"] > 0 or total["passed"] == 0)


if __name__ == "__main__":
    sys.exit(main())
