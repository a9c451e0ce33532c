"""Whether a bundle is what MONAI's model zoo and MONAI's tools expect: one line for each check.

| file | idea |
|---|---|
| `verify_files` | what can be seen without running anything: files, metadata, packages |
| `verify_running` | what the bundle's own code does, in a process of its own |
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headct.predict.input.archives import unpack
from headct.runs.find_bundle import find_bundle
from headct.zoo.verify_files import Result, file_checks, metadata_checks
from tools.core.errors import InputError
from tools.core.limits import check_file

__all__ = ["check_bundle", "verify"]

NOT_COPIED = {".git", "data", "cache", "eval", "output", "runs"}
"""What a bundle's runs leave at its root; folders of these names further below are parts of it."""


def verify(
    bundle: str,
    schema: str | Path | None = None,
    online: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> None:
    """Check a bundle, of this repository or any other, and print one line for each check.

    The checks that run the bundle's code run in a copy, so that the bundle stays as it is: every `_target_`
    of its configurations exists, MONAI's `check_properties` of training, evaluation and inference,
    `verify_net_in_out`, the weights loaded with nothing missing or left over, `ckpt_export`. What data or
    weights this machine does not have is said and skipped. It runs code of the bundle: check only bundles
    that you would run.

    Args:
        bundle: folder, zip, or name of a folder in `bundles`.
        schema: file of the metadata's JSON schema. Default: the copy in $HEADCT_REAL_DATA/schema, if any.
        online: fetch the schema that the metadata name, and ask pip whether the pinned packages exist.
        overrides: keys of the configurations, such as `{"dataset_dir": "/path"}`.

    Raises:
        InputError: no such bundle; or, after all lines, one or more checks failed.
    """
    failed = total = 0
    for result in check_bundle(bundle, schema, online, overrides or {}):
        print(
            f"{result.status:5} {result.name}" + (f": {result.reason}" if result.reason else ""), flush=True
        )
        failed += result.status == "FAIL"
        total += 1
    if failed:
        raise InputError(
            f"{bundle}: expected a bundle without faults, found {failed} of {total} checks failed"
        )


def check_bundle(
    bundle: str,
    schema: str | Path | None = None,
    online: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> Iterator[Result]:
    """The checks one by one, see `verify`."""
    with tempfile.TemporaryDirectory() as temporary:
        root = _copy(bundle, Path(temporary))
        yield from file_checks(root)
        yield from metadata_checks(root, schema, online)
        yield from _running_checks(root, overrides or {}, Path(temporary))


def _copy(bundle: str, temporary: Path) -> Path:
    """The bundle in a folder where it can be run without leaving anything behind."""
    path = Path(bundle)
    if path.suffix == ".zip":
        check_file(path)
        if not zipfile.is_zipfile(path):
            raise InputError(
                f"{path}: expected a zip, found {'another file' if path.exists() else 'no file'}"
            )
        unpack(path, temporary / "unpacked")
        roots = sorted(
            {file.parent.parent for file in (temporary / "unpacked").rglob("configs/metadata.json")}
        )
        if len(roots) != 1:
            raise InputError(f"{path}: expected one bundle in the zip, found {len(roots)}")
        return roots[0]
    folder = find_bundle(bundle)

    def left_out(parent: str, names: list[str]) -> set[str]:
        local = NOT_COPIED if Path(parent) == folder else set()
        return {name for name in names if name == "__pycache__" or name in local}

    return Path(shutil.copytree(folder, temporary / folder.name, ignore=left_out))


def _running_checks(root: Path, overrides: Mapping[str, Any], temporary: Path) -> Iterator[Result]:
    """Run `verify_running.py` in the bundle; it writes one JSON line for each check."""
    own_tools = (
        root / "tools"
    ).is_dir()  # a published bundle brings its part of `tools`, and must need no other
    paths = [str(root), *([] if own_tools else [str(Path(__file__).resolve().parents[2])])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
    results = temporary / "results.jsonl"
    results.touch()
    script = Path(__file__).with_name("verify_running.py")
    command = [sys.executable, str(script), str(root), str(results), json.dumps(dict(overrides))]
    run = subprocess.run(command, cwd=root, env=environment, capture_output=True, errors="replace")
    for line in results.read_text("utf-8").splitlines():
        yield Result(**json.loads(line))
    if run.returncode:
        last = (run.stderr.strip().splitlines() or ["no message"])[-1]
        yield Result("running the bundle", "FAIL", f"its process ended with code {run.returncode}: {last}")
