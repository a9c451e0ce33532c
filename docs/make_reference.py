"""Pages that `make docs` generates: one per module of `tools` and `headct`, one per bundle: its settings."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import mkdocs_gen_files

ROOT = Path(__file__).resolve().parents[1]
KEY = re.compile(r"^([A-Za-z_]\w*):\s*(.*)$")


def module_pages() -> list[str]:
    """A page for every module with something public; lines of the index."""
    lines = ["## Modules", "", "| module | |", "|---|---|"]
    for path in [*sorted((ROOT / "tools").rglob("*.py")), *sorted((ROOT / "headct").rglob("*.py"))]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if parts[-1] == "__main__":
            continue
        summary = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].replace("\n", " ")
        with mkdocs_gen_files.open(f"reference/{name}.md", "w") as page:
            page.write(f"# {name}\n\n::: {name}\n    options: {{show_root_heading: false}}\n")
        lines.append(f"| [{name}]({name}.md) | {summary} |")
    return lines


def configuration_pages() -> list[str]:
    """A page per bundle: the keys of its configurations with their comments; lines of the index."""
    lines = ["## Configurations", "", "| bundle | |", "|---|---|"]
    for bundle in sorted((ROOT / "bundles").iterdir()):
        files = sorted((bundle / "configs").glob("*.yaml"))
        if not files:
            continue
        variants = sorted((bundle / "configs" / "variants").glob("*.yaml"))
        page = [f"# {bundle.name}: configurations", ""]
        for file in files:
            page += _configuration(file)
        if variants:
            page += ["## Variants", "", "| overlay | |", "|---|---|"]
            page += [f"| `{file.stem}` | {_introduction(file)} |" for file in variants]
        with mkdocs_gen_files.open(f"reference/{bundle.name}.md", "w") as target:
            target.write("\n".join(page) + "\n")
        text = f"{', '.join(file.name for file in files)}; {len(variants)} variants"
        lines.append(f"| [{bundle.name}]({bundle.name}.md) | {text} |")
    return lines


def _introduction(file: Path) -> str:
    """The comment at the head of a file, in one line; commands, which are indented, are left out."""
    head = []
    for line in file.read_text().splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("#  "):
            head.append(line[1:].strip())
    return " ".join(head).replace("|", "\\|")


def _configuration(file: Path) -> list[str]:
    """Heading, introduction and plain keys of a configuration: name, value, the comment that follows it."""
    lines = [f"## {file.name}", "", _introduction(file), "", "| key | value | |", "|---|---|---|"]
    for line in file.read_text().splitlines():
        found = KEY.match(line)
        if not found or found[2] == "":
            continue
        value, _, comment = found[2].partition(" # ")
        cells = [f"`{found[1]}`", f"`{value.strip()}`", comment.strip()]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*lines, ""]


with mkdocs_gen_files.open("reference/index.md", "w") as index:
    text = ["# Reference", "", *configuration_pages(), "", *module_pages()]
    index.write("\n".join(text) + "\n")
