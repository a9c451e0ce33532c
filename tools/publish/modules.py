"""Which modules of `tools` a bundle needs: those that its files name, and what they need in turn."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tools.errors import InputError

__all__ = ["needed_modules"]

NAMED = re.compile(r"\btools(?:\.\w+)+")


def needed_modules(bundle: Path, tools: Path) -> list[Path]:
    """Files of `tools`, relative to it, sorted.

    Imports count wherever they stand, also within functions.

    Args:
        bundle: folder of the bundle: its `scripts/*.py` and `configs/**/*.yaml` are read.
        tools: folder of the package.

    Raises:
        InputError: a module is named that is not there.
    """
    waiting = [("tools", bundle)]
    for config in sorted(bundle.glob("configs/**/*.yaml")):
        waiting += [(name, config) for name in NAMED.findall(_without_comments(config.read_text()))]
    for script in sorted(bundle.glob("scripts/**/*.py")):
        waiting += [(name, script) for name in _imports(script)]
    needed: dict[Path, None] = {}
    while waiting:
        name, source = waiting.pop()
        for file in _files(name, tools, source):
            if file not in needed:
                needed[file] = None
                waiting += [(found, file) for found in _imports(file)]
    return sorted(file.relative_to(tools) for file in needed)


def _without_comments(text: str) -> str:
    return "\n".join(re.sub(r"(^|\s)#.*", "", line) for line in text.splitlines())


def _imports(script: Path) -> Iterator[str]:
    """Names below `tools` that a script imports, with those it takes from a module, which may be modules."""
    for node in ast.walk(ast.parse(script.read_text(), str(script))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "tools")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tools":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(name: str, tools: Path, source: Path) -> Iterator[Path]:
    """The module that a dotted name means, whose last parts may be functions, and its packages."""
    path = tools
    yield tools / "__init__.py"
    parts = name.split(".")[1:]
    for number, part in enumerate(parts):
        path = path / part
        if (path / "__init__.py").is_file():
            yield path / "__init__.py"
            continue
        if path.with_suffix(".py").is_file():
            yield path.with_suffix(".py")
        elif number == 0 and path.parent == tools and not _defines(tools / "__init__.py", part):
            raise InputError(f"{source}: expected a module of tools, found {name}, which is none")
        return


def _defines(script: Path, name: str) -> bool:
    return re.search(rf"^{re.escape(name)}\b", script.read_text(), re.MULTILINE) is not None
