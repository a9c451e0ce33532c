"""How large the packages are, and how much of `tools` each bundle's published zip carries: files and lines.

python benchmarks/count_lines.py              this working tree
python benchmarks/count_lines.py --at v0.1.0  a commit, taken out of git
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from headct.zoo.needed_modules import needed_modules  # noqa: E402


def counted(files: Iterable[Path]) -> tuple[int, int]:
    """Number of files and of their lines."""
    lines = [len(file.read_text(encoding="utf-8").splitlines()) for file in files]
    return len(lines), sum(lines)


def table(root: Path) -> list[tuple[str, int, int, int]]:
    """Name, files, lines, and those of the lines that are synthetic heads."""
    rows = []
    for package in ("tools", "headct"):
        files = sorted(root.glob(f"{package}/**/*.py"))
        heads = [file for file in files if "phantom" in file.relative_to(root).parts]
        rows.append((package, *counted(files), counted(heads)[1]))
    for bundle in sorted(path.parent.parent for path in root.glob("bundles/*/configs/metadata.json")):
        files = [root / "tools" / path for path in needed_modules(bundle, root / "tools")]
        heads = [file for file in files if "phantom" in file.relative_to(root).parts]
        rows.append((f"tools in {bundle.name}'s zip", *counted(files), counted(heads)[1]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at", help="commit or tag; default: the files as they are")
    at = parser.parse_args().at
    with tempfile.TemporaryDirectory() as folder:
        root = ROOT
        if at is not None:
            archive = subprocess.run(["git", "archive", at], cwd=ROOT, capture_output=True, check=True).stdout
            with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
                packed.extractall(folder, filter="data")
            root = Path(folder)
        print("| what | files | lines | without phantom |\n|---|---|---|---|")
        for name, files, lines, heads in table(root):
            print(f"| {name} | {files} | {lines:,} | {lines - heads:,} |")


if __name__ == "__main__":
    main()
