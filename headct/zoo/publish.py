"""A bundle as others download it: a folder and a zip that run alone, and what model zoos want beside them.

| file | idea |
|---|---|
| `needed_modules` | which modules of `tools` a bundle needs |
| `checks` | what a bundle must have before it is published |
| `json_configurations` | its configurations as JSON, for programs that look for a network by its name |
| `strict_weights` | whether the networks of these configurations are that of the weights |
| `zoo_format` | Python files as the model zoo's format check wants them |
| `card_figures` | whether the model card states the figures of the metadata, and no others |
| `archive` | a zip that is the same byte for byte with the same zlib |
| `huggingface` | the form in which Hugging Face shows it |
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from headct.runs.find_bundle import find_bundle
from headct.zoo.archive import zip_bytes
from headct.zoo.checks import bundle_version, check_publishable, tracked_files
from headct.zoo.huggingface import huggingface_readme
from headct.zoo.needed_modules import needed_modules
from headct.zoo.zoo_format import zoo_format
from tools.core.errors import InputError
from tools.core.files import write_bytes, write_text

__all__ = ["PREFIX", "publish"]

PREFIX = "hemorrhage_ct_segmentation_"
"""Names in the model zoo say organ, modality and task."""


def publish(
    bundle: str,
    version: str | None = None,
    out: str | Path = "dist",
    url: str = "",
    schema: str | Path | None = None,
) -> Path:
    """Write what is needed to publish a bundle; see docs/publish.md.

    `OUT/<name>/`, the bundle with the modules of `tools` that it needs; `OUT/<name>_v<version>.zip`, the same
    packed, byte for byte the same with the same zlib; `OUT/model_info.json`, its entry in the list of MONAI's
    model zoo, beside those that are there already; `OUT/huggingface/<name>/`, the form of Hugging Face.

    Args:
        bundle: name of a folder in `bundles`, or path of a bundle.
        version: what it shall be; must be what the bundle's metadata say. Default: what they say.
        out: folder to write to.
        url: where the zip will lie, for `model_info.json`.
        schema: file of the metadata's JSON schema. Default: the copy in $HEADCT_REAL_DATA/schema, if any;
            otherwise it is fetched from where the metadata say.

    Returns:
        the zip.

    Raises:
        InputError: one sentence for each thing that stands against it; nothing is written.
    """
    folder = find_bundle(bundle)
    tools = folder.parents[1] / "tools"
    if not tools.is_dir():
        raise InputError(f"{tools}: expected the package `tools` beside the folder of the bundle, found none")
    version = bundle_version(folder, version)
    configurations = check_publishable(folder, tools, version, schema)
    target = Path(out)
    entries = _model_info(target / "model_info.json")
    name = PREFIX + folder.name
    files = {path: folder / path for path in tracked_files(folder)}
    files |= {Path("tools", path): tools / path for path in needed_modules(folder, tools)}
    content = {path.as_posix(): source.read_bytes() for path, source in files.items()}
    content = zoo_format(content)
    content |= {path: f"{json.dumps(value, indent=4)}\n".encode() for path, value in configurations.items()}

    archive = zip_bytes({f"{name}/{path}": data for path, data in content.items()})
    _write_folder(target / name, content)
    readme = huggingface_readme(folder, name)
    _write_folder(target / "huggingface" / name, {**content, "README.md": readme.encode()})
    path = target / f"{name}_v{version}.zip"
    write_bytes(path, archive)
    digest = hashlib.sha1(archive).hexdigest()
    entries[path.stem] = {"checksum": digest, "source": url or path.name}
    write_text(target / "model_info.json", json.dumps(entries, indent=4, sort_keys=True) + "\n")
    print(f"{path}: {len(content)} files, {len(archive) / 1e6:.1f} MB, sha1 {digest}")
    return path


def _write_folder(folder: Path, content: dict[str, bytes]) -> None:
    """Replace `folder` by these files, in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        new = Path(temporary, "new")
        for path, data in content.items():
            write_bytes(new / path, data)
        if folder.exists():
            folder.rename(Path(temporary, "old"))
        shutil.move(new, folder)


def _model_info(path: Path) -> dict[str, dict[str, str]]:
    """The zoo's list, of each archive its SHA-1 and where it lies; empty where there is none yet."""
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected the list of a model zoo (JSON), found: {error}") from error
    if not isinstance(entries, dict):
        raise InputError(f"{path}: expected entries by name, found {type(entries).__name__}")
    return entries
