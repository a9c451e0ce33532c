"""Which modules of `tools` a bundle needs: those that its files name, and what they need in turn."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tools.core.errors import InputError
from tools.core.lazy import exports, is_for_types

__all__ = ["needed_modules"]

NAMED = re.compile(r"\btools(?:\.\w+)+")


def needed_modules(bundle: Path, tools: Path) -> list[Path]:
    """Files of `tools`, relative to it, sorted.

    Imports count wherever they stand, also within functions, but for those that only type checkers read. A
    name that a package exports lazily means the module that defines it.

    Args:
        bundle: folder of the bundle: its `scripts/*.py` and `configs/**/*.yaml` are read.
        tools: folder of the package.

    Raises:
        InputError: a module is named that is not there.
    """
    waiting = [("tools", bundle)]
    for config in sorted(bundle.glob("configs/**/*.yaml")):
        waiting += [(name, config) for name in NAMED.findall(_without_comments(config.read_text("utf-8")))]
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


def _parsed(script: Path) -> ast.Module:
    try:
        return ast.parse(script.read_bytes(), str(script))
    except (SyntaxError, ValueError) as error:  # the latter of bytes that are no text
        line = getattr(error, "lineno", None)
        place = f"{script}, line {line}" if line else str(script)
        raise InputError(f"{place}: expected Python, found {getattr(error, 'msg', error)}") from error


def _imports(script: Path) -> Iterator[str]:
    """Names below `tools` that a script imports, with those it takes from a module, which may be modules."""
    waiting: list[ast.AST] = [_parsed(script)]
    while waiting:
        node = waiting.pop()
        waiting += [child for child in ast.iter_child_nodes(node) if not is_for_types(child)]
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "tools")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tools":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(name: str, tools: Path, source: Path) -> Iterator[Path]:
    """The module that a dotted name means, whose last parts may be functions, and its packages."""
    path = tools
    yield tools / "__init__.py"
    for part in name.split(".")[1:]:
        package, path = path / "__init__.py", path / part
        if (path / "__init__.py").is_file():
            yield path / "__init__.py"
            continue
        exported = exports(package.read_text("utf-8"))
        if path.with_suffix(".py").is_file():
            yield path.with_suffix(".py")
        elif part in exported:
            yield from _files(exported[part], tools, package)
        elif not _defines(package, part):
            raise InputError(f"{source}: expected a module of tools, found {name}, which is none")
        return


def _defines(script: Path, name: str) -> bool:
    """Whether a name stands among the definitions or imports of a package's `__init__`."""
    tree = _parsed(script)
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    names |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names |= {n.asname or n.name for n in ast.walk(tree) if isinstance(n, ast.alias)}
    return name in names
