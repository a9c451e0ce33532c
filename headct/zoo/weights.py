"""Files too large for a bundle's repository: fetched from where `large_files.yml` says, and verified."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from monai.apps.utils import SUPPORTED_HASH_TYPES, HashCheckError, download_url

from headct.runs.find_bundle import find_bundle
from tools.core.errors import InputError
from tools.core.files import file_hash

__all__ = ["fetch_weights", "read_large_files", "weights"]

LARGE_FILES = ("large_files.yml", "large_files.yaml", "large_files.json")


def weights(bundle: str, *more: str, check: bool = False) -> None:
    """Fetch and verify the weights of bundles.

    What `large_files.yml` lists and is not there yet is fetched; every listed file is verified by its
    checksum; of all files in `models/` name, size and SHA-256 are printed. An interrupted or wrong download
    leaves nothing behind: run the command again.

    Args:
        bundle: folder of a bundle, or the name of one in `bundles`.
        more: further bundles.
        check: only verify, fetch nothing.
    """
    for folder in map(find_bundle, (bundle, *more)):
        listed = read_large_files(folder)
        for entry in listed:
            fetch_weights(folder, entry, check=check)
        paths = {folder / entry["path"] for entry in listed}
        paths |= {path for path in (folder / "models").glob("*") if path.is_file()}
        print(f"{folder.name}:" if paths else f"{folder.name}: no weights, train the bundle first")
        for path in sorted(paths):
            state = "checksum as listed" if path in {folder / e["path"] for e in listed} else "shipped"
            name, size = path.relative_to(folder), path.stat().st_size / 2**20
            print(f"  {name}  {size:.1f} MB  sha256 {file_hash(path)}  {state}")


def fetch_weights(folder: Path, entry: Mapping[str, Any], check: bool = False) -> Path:
    """One file of `large_files.yml`: fetched if it is not there, and verified.

    Args:
        folder: the bundle.
        entry: path, url, hash_val and hash_type, see `read_large_files`.
        check: fetch nothing.

    Returns:
        Where the file is.

    Raises:
        InputError: the file can't be fetched, or its checksum is another; a wrong download is not kept.
    """
    path = folder / entry["path"]
    kind, expected = entry["hash_type"], entry["hash_val"]
    if path.is_file():
        found = file_hash(path, kind)
        if found != expected:
            raise InputError(
                f"{path}: expected {kind} {expected} as listed, found {found}: remove it to fetch it again"
            )
        return path
    if check:
        raise InputError(f"{path}: expected the file that is listed, found none: leave out --check")
    path.parent.mkdir(parents=True, exist_ok=True)
    # in the same folder, so that the last step is a rename: a reader never sees half a file
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download_") as temporary:
        part = Path(temporary) / path.name
        try:
            download_url(entry["url"], part, expected, kind)
            part.replace(path)
        except HashCheckError as error:
            raise InputError(
                f"{entry['url']}: expected a file with {kind} {expected}, found another; nothing was kept"
            ) from error
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(
                f"{entry['url']}: expected a file for {path}, found that it can't be fetched: {error}"
            ) from error
    return path


def read_large_files(folder: Path) -> list[dict[str, str]]:
    """The entries of a bundle's `large_files.yml`, checked.

    Args:
        folder: the bundle.

    Returns:
        For each file its `path` in the bundle, `url`, `hash_val` and `hash_type`; none without a list.

    Raises:
        InputError: the file is no such list, an entry lacks something or leaves the bundle.
    """
    found = [folder / name for name in LARGE_FILES if (folder / name).is_file()]
    if not found:
        return []
    try:
        text = found[0].read_text("utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise InputError(
                f"{found[0]}: expected YAML without aliases, found some, which may grow without end"
            )
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        what = str(error).splitlines()[0]
        raise InputError(f"{found[0]}: expected YAML, found another text: {what}") from error
    entries = content.get("large_files") if isinstance(content, Mapping) else None
    if not isinstance(entries, list):
        raise InputError(
            f"{found[0]}: expected a list under the key large_files, found {type(entries).__name__}"
        )
    result = []
    for entry in entries:
        lacking = [
            key for key in ("path", "url", "hash_val") if not (isinstance(entry, dict) and entry.get(key))
        ]
        if lacking:
            raise InputError(f"{found[0]}: expected path, url and hash_val, found no {lacking[0]} in {entry}")
        kind = str(entry.get("hash_type") or "sha256").lower()
        if kind not in SUPPORTED_HASH_TYPES:
            raise InputError(
                f"{found[0]}: expected a hash_type of {', '.join(SUPPORTED_HASH_TYPES)}, found {kind}"
            )
        if not (folder / entry["path"]).resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{found[0]}: expected a path within the bundle, found {entry['path']}")
        result.append(
            {
                **{k: str(entry[k]) for k in ("path", "url")},
                "hash_val": str(entry["hash_val"]).lower(),
                "hash_type": kind,
            }
        )
    return result
