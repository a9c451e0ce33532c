"""What a bundle must have before it is published."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from headct.zoo.card_figures import figure_faults
from headct.zoo.json_configurations import json_configurations
from headct.zoo.metadata_schema import SchemaNotAtHand, schema_at_hand, schema_faults
from headct.zoo.strict_weights import strict_faults
from headct.zoo.weights import read_large_files
from tools.core.errors import InputError

__all__ = [
    "LARGEST_MB",
    "bundle_version",
    "check_publishable",
    "personal_paths",
    "too_large",
    "tracked_files",
    "version_faults",
]

LARGEST_MB = 25  # of a file in the zoo; larger ones are named in large_files.yml
PERSONAL = re.compile(r"(?<![\w.])/(?:home|root|Users|Volumes|mnt|media|scratch|tmp|work)/[\w.]")
DRIVE = re.compile(r"(?<![\w.])[A-Z]:\\+[\w.]")  # also as JSON writes it; in weights it stands by chance


def bundle_version(folder: Path, version: str | None = None) -> str:
    """The version that the metadata state.

    Raises:
        InputError: no metadata, or `version` is another one.
    """
    path = folder / "configs" / "metadata.json"
    if not path.is_file():
        raise InputError(f"{path}: expected the metadata of a bundle, found no such file")
    try:
        metadata = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, found another text: {error}") from error
    if not isinstance(metadata, dict):
        raise InputError(f"{path}: expected values by key, found {type(metadata).__name__}")
    stated = str(metadata.get("version"))
    if version is not None and str(version) != stated:
        raise InputError(f"{path}: expected version {version}, found {stated}")
    return stated


def check_publishable(
    folder: Path, tools: Path, version: str, schema: str | Path | None = None
) -> dict[str, dict[str, Any]]:
    """Check all at once.

    Args:
        folder: the bundle.
        tools: the package `tools`.
        version: what its metadata state.
        schema: file of the metadata's JSON schema. Default: the copy at hand, else it is fetched.

    Returns:
        the configurations that are published as JSON, by path in the bundle.

    Raises:
        InputError: with one sentence for each thing that stands against publishing.
    """
    metadata = json.loads((folder / "configs" / "metadata.json").read_text("utf-8"))
    faults = [
        *_schema(metadata, schema),
        *version_faults(metadata),
        *_required_files(folder),
        *_weights(folder),
        *_figures(folder, metadata),
        *personal_paths(folder, tracked_files(folder)),
        *_uncommitted(folder, tools),
    ]
    configurations: dict[str, dict[str, Any]] = {}
    try:
        configurations = json_configurations(folder)
    except InputError as error:
        faults.append(str(error))
    if (folder / "models" / "model.pt").is_file():
        faults += strict_faults(folder, configurations)
    if faults:
        raise InputError(f"{folder.name}: not published: " + "; ".join(faults))
    return configurations


def tracked_files(folder: Path) -> list[Path]:
    """Files of the folder that git knows, relative to it, and weights that it ignores."""
    listed = _git(folder, "ls-files", "-z").split("\0")
    files = {Path(name) for name in listed if name}
    files |= {path.relative_to(folder) for path in (folder / "models").glob("model.*")}
    return sorted(path for path in files if "__pycache__" not in path.parts)


def _schema(metadata: dict[str, Any], schema: str | Path | None) -> Iterator[str]:
    """What nobody could check is not published either."""
    at_hand = schema or schema_at_hand(str(metadata.get("schema", ""))).is_file()
    try:
        for fault in schema_faults(metadata, schema, online=not at_hand):
            yield f"metadata.json: {fault}"
    except SchemaNotAtHand as error:
        yield f"expected the schema of metadata.json (--schema FILE, if you have a copy), found none: {error}"


def version_faults(metadata: dict[str, Any]) -> Iterator[str]:
    """The zoo wants a word on every version."""
    version, changelog = metadata.get("version"), metadata.get("changelog") or {}
    if not isinstance(changelog, dict):
        yield f"expected a changelog by version in metadata.json, found {type(changelog).__name__}"
    elif version not in changelog:
        found = ", ".join(map(str, changelog)) or "none"
        yield f"expected version {version} in the changelog of metadata.json, found {found}"


def _required_files(folder: Path) -> Iterator[str]:
    for name in ("LICENSE", "configs/inference.yaml", "docs/README.md", "docs/data_license.txt"):
        if not (folder / name).is_file():
            yield f"expected the file {name}, found none"


def _weights(folder: Path) -> Iterator[str]:
    try:
        listed = {entry["path"] for entry in read_large_files(folder)}
    except InputError as error:
        yield str(error)
        return
    if not (folder / "models" / "model.pt").is_file() and "models/model.pt" not in listed:
        yield "expected models/model.pt, or its entry in large_files.yml, found neither"
    elif not (folder / "models" / "model.pt").is_file():
        yield (
            "expected models/model.pt, to see whether the networks take it, found only its entry in "
            f"large_files.yml: headct bundle fetch-weights {folder.name}"
        )
    yield from too_large(folder, tracked_files(folder), listed)


def too_large(folder: Path, files: Iterable[Path], listed: Collection[str]) -> Iterator[str]:
    """One sentence for each file above `LARGEST_MB`, relative to the folder, that is not listed."""
    for path in files:
        megabytes = (folder / path).stat().st_size / 1e6 if (folder / path).is_file() else 0
        if megabytes > LARGEST_MB and path.as_posix() not in listed:
            yield f"expected {path} ({megabytes:.1f} MB > {LARGEST_MB} MB) in large_files.yml, found no entry"


def _figures(folder: Path, metadata: dict[str, Any]) -> Iterator[str]:
    card = folder / "docs" / "README.md"
    if card.is_file():
        yield from figure_faults(card.read_text("utf-8"), metadata.get("eval_metrics", {}))


def personal_paths(folder: Path, files: Iterable[Path]) -> Iterator[str]:
    """One sentence for each file, relative to the folder, that names a path of one machine.

    Those of TorchScript and torch.export hold the paths of sources, and so the name of who wrote them.
    """
    for path in files:
        if not (folder / path).is_file():
            continue
        data = (folder / path).read_bytes()
        if zipfile.is_zipfile(folder / path):
            with zipfile.ZipFile(folder / path) as archive:
                data = b"\0".join(archive.read(name) for name in archive.namelist())
        text = data.decode("latin-1")
        found = PERSONAL.search(text) or ("\0" not in text and DRIVE.search(text))
        if found:
            yield f"expected no path of one machine in {path}, found {found[0]}..."


def _uncommitted(folder: Path, tools: Path) -> Iterator[str]:
    changed = _git(folder, "status", "--porcelain", "--", str(folder), str(tools)).splitlines()
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        yield f"expected all changes to be committed, found {changed[0].strip()}{more}"


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
    if result.returncode:
        raise InputError(f"{folder}: expected a folder in a git repository, found: {result.stderr.strip()}")
    return result.stdout
