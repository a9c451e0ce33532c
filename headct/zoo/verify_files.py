"""What can be seen of a bundle without running anything."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headct.zoo.checks import LARGEST_MB, personal_paths, too_large, version_faults
from headct.zoo.metadata_schema import SchemaNotAtHand, schema_faults
from headct.zoo.weights import read_large_files
from tools.core.errors import InputError
from tools.core.files import file_hash

__all__ = ["Result", "file_checks", "metadata_checks"]

PINNED = re.compile(r"\d+(\.\w+)*([-+.]\w+)*")
CONFIGS = (".json", ".yaml", ".yml")


@dataclass(frozen=True)
class Result:
    """One line of the report.

    Args:
        name: of the check.
        status: "pass", "FAIL" or "skip".
        reason: why, or what was found.
    """

    name: str
    status: str
    reason: str = ""


def file_checks(root: Path) -> Iterator[Result]:
    """Files that must be there, their sizes, large files, paths of one machine.

    Args:
        root: folder of the bundle.
    """
    for name, choices in (
        ("LICENSE", ["LICENSE"]),
        ("metadata", ["configs/metadata.json"]),
        ("inference configuration", [f"configs/inference{suffix}" for suffix in CONFIGS]),
        ("model card", ["docs/README.md"]),
    ):
        found = [choice for choice in choices if (root / choice).is_file()]
        yield _result(name, [] if found else [f"expected {' or '.join(choices)}, found none"])
    try:
        listed = {entry["path"]: entry for entry in read_large_files(root)}
        yield _result("large_files.yml", [], f"{len(listed)} files" if listed else "none needed")
    except InputError as error:
        listed = {}
        yield Result("large_files.yml", "FAIL", str(error))
    models = ["models/model.pt", "models/model.ts"]
    there = [name for name in models if (root / name).is_file()]
    named = [name for name in models if name in listed]
    wrong = (
        [] if there or named else ["expected models/model.pt, or its entry in large_files.yml, found neither"]
    )
    for path, entry in listed.items():
        if (root / path).is_file() and file_hash(root / path, entry["hash_type"]) != entry["hash_val"]:
            wrong.append(f"expected {path} with the {entry['hash_type']} that is listed, found another")
    yield _result("weights", wrong, there[0] if there else "in large_files.yml, not fetched")
    inside = [path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file()]
    files = [path for path in inside if "__pycache__" not in path.parts]
    yield _result(f"files up to {LARGEST_MB} MB", list(too_large(root, files, listed)))
    yield _result("no paths of one machine", list(personal_paths(root, files)))


def metadata_checks(root: Path, schema: str | Path | None = None, online: bool = False) -> Iterator[Result]:
    """Schema, version, pinned packages.

    Args:
        root: folder of the bundle.
        schema: file of the JSON schema.
        online: fetch the schema and ask pip for the packages.
    """
    path = root / "configs" / "metadata.json"
    try:
        metadata = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        yield Result("metadata are JSON", "FAIL", str(error))
        return
    if not isinstance(metadata, dict):
        yield Result("metadata are JSON", "FAIL", f"expected values by key, found {type(metadata).__name__}")
        return
    yield _schema(metadata, schema, online)
    yield _result("version in changelog", list(version_faults(metadata)), str(metadata.get("version")))
    pins = metadata.get("required_packages_version") or metadata.get("optional_packages_version") or {}
    if not isinstance(pins, dict):
        yield Result("packages pinned", "FAIL", f"expected versions by name, found {type(pins).__name__}")
        return
    versions = {key: metadata.get(f"{key}_version") for key in ("monai", "pytorch", "numpy")}
    loose = [f"{name} {pin}" for name, pin in (versions | pins).items() if not PINNED.fullmatch(str(pin))]
    yield _result(
        "packages pinned", [f"expected versions, found {', '.join(loose)}"] if loose else [], f"{len(pins)}"
    )
    yield _packages({name: str(pin) for name, pin in pins.items()}, online)


def _result(name: str, faults: list[str], note: str = "") -> Result:
    return Result(name, "FAIL", "; ".join(faults)) if faults else Result(name, "pass", note)


def _schema(metadata: dict[str, Any], schema: str | Path | None, online: bool) -> Result:
    try:
        return _result("metadata schema", schema_faults(metadata, schema, online))
    except SchemaNotAtHand as error:
        return Result("metadata schema", "skip", str(error))


def _packages(pins: dict[str, str], online: bool) -> Result:
    """Offline, what is installed in the same version does exist; online pip is asked for the rest."""
    name, unknown = "packages exist", []
    for package, pin in pins.items():
        try:
            found = importlib.metadata.version(package).split("+")[0]  # of a build for one CUDA version
        except importlib.metadata.PackageNotFoundError:
            found = None
        if found != pin:
            unknown.append(f"{package}=={pin}")
    if not unknown:
        return Result(name, "pass", "all installed here")
    if not online:
        return Result(
            name, "skip", f"not installed here, so not known: {', '.join(unknown)} (--online asks pip)"
        )
    missing = []
    for requirement in unknown:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--no-deps",
            "--ignore-installed",
            "--quiet",
        ]
        run = subprocess.run([*command, requirement], capture_output=True, text=True)
        if run.returncode:
            missing.append(requirement)
    return _result(
        name, [f"pip can't find {', '.join(missing)}"] if missing else [], f"pip found {', '.join(unknown)}"
    )
