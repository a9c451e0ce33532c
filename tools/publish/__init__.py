"""A bundle as others download it: a folder and a zip that run alone, and what model zoos want beside them.

| file | idea |
|---|---|
| `modules` | which modules of `tools` a bundle needs |
| `checks` | what a bundle must have before it is published |
| `figures` | whether the model card states the figures of the metadata, and no others |
| `archive` | a zip that is the same byte for byte with the same zlib |
| `huggingface` | the form in which Hugging Face shows it |
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import yaml

from tools.bundle_run import bundle_folder
from tools.errors import InputError
from tools.files import write_bytes
from tools.publish.archive import zip_bytes
from tools.publish.checks import bundle_version, check_publishable, tracked_files
from tools.publish.huggingface import huggingface_readme
from tools.publish.modules import needed_modules

__all__ = ["PREFIX", "publish"]

PREFIX = "hemorrhage_ct_segmentation_"
"""Names in the model zoo say organ, modality and task."""


def publish(
    bundle: str,
    version: str | None = None,
    out: str = "dist",
    url: str = "",
    schema: str | None = None,
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
    folder = bundle_folder(bundle)
    tools = folder.parents[1] / "tools"
    if not tools.is_dir():
        raise InputError(f"{tools}: expected the package `tools` beside the folder of the bundle, found none")
    version = bundle_version(folder, version)
    check_publishable(folder, tools, version, schema)
    name = PREFIX + folder.name
    files = {path: folder / path for path in tracked_files(folder)}
    files |= {Path("tools", path): tools / path for path in needed_modules(folder, tools)}
    content = {path.as_posix(): source.read_bytes() for path, source in files.items()}
    content |= _json_configurations(content)

    target = Path(out)
    archive = zip_bytes({f"{name}/{path}": data for path, data in content.items()})
    _write_folder(target / name, content)
    readme = huggingface_readme(folder, name)
    _write_folder(target / "huggingface" / name, {**content, "README.md": readme.encode()})
    path = target / f"{name}_v{version}.zip"
    write_bytes(path, archive)
    _add_to_model_info(target / "model_info.json", path, archive, url)
    print(
        f"{path}: {len(content)} files, {len(archive) / 1e6:.1f} MB, sha1 {hashlib.sha1(archive).hexdigest()}"
    )
    return path


def _json_configurations(content: dict[str, bytes]) -> dict[str, bytes]:
    """`monai.bundle.load` finds a network only through JSON, which MONAI Label takes before YAML."""
    result = {}
    for workflow in ("train", "inference"):
        configuration = content.get(f"configs/{workflow}.yaml")
        if configuration is not None:
            text = json.dumps(yaml.safe_load(configuration), indent=4)
            result[f"configs/{workflow}.json"] = f"{text}\n".encode()
    return result


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


def _add_to_model_info(path: Path, archive: Path, content: bytes, url: str) -> None:
    """The zoo's list names each archive with its SHA-1 and where it lies."""
    entries = json.loads(path.read_text()) if path.is_file() else {}
    entries[archive.stem] = {"checksum": hashlib.sha1(content).hexdigest(), "source": url or archive.name}
    write_bytes(path, (json.dumps(entries, indent=4, sort_keys=True) + "\n").encode())
