"""The public face of a package that imports nothing until one of its names is asked for (PEP 562).

So `import tools.core.errors` waits for no torch, and a published bundle carries no module that it does not
name.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def lazy_exports(package: str, file: str) -> Callable[[str], Any]:
    """`__getattr__` of a package: what its `__init__` imports for type checkers is imported at first use.

    Args:
        package, file: its `__name__` and `__file__`; `tools/symmetry/__init__.py` shows the use.
    """
    table: dict[str, str] = {}

    def __getattr__(name: str) -> Any:
        if not table:
            table.update(exports(Path(file).read_text(encoding="utf-8")))
        if name not in table:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(table[name]), name)

    return __getattr__


def exports(source: str) -> dict[str, str]:
    """The names that a module imports under `if TYPE_CHECKING:`, and the module of each."""
    return {
        alias.name: node.module
        for block in ast.parse(source).body
        if is_for_types(block)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def is_for_types(node: ast.AST) -> bool:
    """Whether a statement is `if TYPE_CHECKING:`, which never runs."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
