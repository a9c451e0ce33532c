"""Every test: the tools in one process, each bundle in a process of its own, one closing line for all.

Two bundles can't share a process: each has a package `scripts`, and Python keeps the first.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

TESTS = Path(__file__).resolve().parent


def run(folder: Path, extra: list[str]) -> dict[str, int]:
    """pytest on one folder; how many tests passed, failed (errors too) and were skipped."""
    print(f"\n{folder.relative_to(TESTS.parent)}", flush=True)
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        command = [sys.executable, "-m", "pytest", str(folder), "--durations=5", f"--junitxml={report.name}"]
        code = subprocess.run([*command, *extra], cwd=TESTS.parent).returncode
        try:
            suites = list(ElementTree.parse(report.name).getroot().iter("testsuite"))
        except ElementTree.ParseError:  # pytest itself broke down
            suites = []
    count = {
        key: sum(int(s.get(key, 0)) for s in suites) for key in ("tests", "failures", "errors", "skipped")
    }
    failed = count["failures"] + count["errors"]
    return {
        "passed": count["tests"] - failed - count["skipped"],
        "failed": failed or int(code != 0),
        "skipped": count["skipped"],
    }


def main() -> int:
    bundles = sorted(path for path in (TESTS / "bundles").iterdir() if list(path.glob("test_*.py")))
    results = [run(folder, sys.argv[1:]) for folder in (TESTS / "tools", *bundles)]
    total = {key: sum(result[key] for result in results) for key in results[0]}
    print("\n" + ", ".join(f"{count} {key}" for key, count in total.items()))
    return int(total["failed"] > 0 or total["passed"] == 0)


if __name__ == "__main__":
    sys.exit(main())
