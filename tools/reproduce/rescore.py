"""The weights of a finished run scored once more: another checkpoint, or other data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.bundle_run import last_error
from tools.errors import InputError

__all__ = ["rescore"]


def rescore(bundle: Path, files: Sequence[str], keys: Mapping[str, Any], out: Path, name: str) -> Path:
    """Run a bundle's `evaluating`, unless that is done.

    Args:
        bundle: folder of the bundle.
        files: configuration files of the training, see `tools.bundle_run.config_files`.
        keys: of the configuration, among them `ckpt_path` or `ckpt_dir`, and the data.
        out: folder of the scores.
        name: what messages call it.

    Returns:
        `out`.

    Raises:
        InputError: the evaluation failed; the message ends with its error.
    """
    if (out / "slice_metrics" / "summary.json").is_file():
        return out
    overlays = [files[0], "configs/evaluate.yaml", *files[1:]]
    command = [sys.executable, "-m", "monai.bundle", "run", "evaluating", "--config_file", str(overlays)]
    command += [
        part for key, value in {**keys, "output_dir": out}.items() for part in (f"--{key}", str(value))
    ]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True)
    if done.returncode:
        found = last_error(done.stderr)
        raise InputError(f"{name}: expected the evaluation to succeed, found {found!r}")
    return out
