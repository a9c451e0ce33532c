"""Weights on disk: one clear word when there are none."""

from __future__ import annotations

from pathlib import Path

from tools.errors import InputError

__all__ = ["require_weights"]


def require_weights(path: str | Path) -> None:
    """Check that a weights file exists before anything is loaded.

    Raises:
        InputError: there is no file at `path`.
    """
    if not Path(path).is_file():
        raise InputError(
            f"{path}: expected trained weights, found no such file: run `training` of the bundle first"
        )
