"""Where a bundle lies, its configuration files and its weights."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from tools.core.errors import InputError
from tools.core.overrides import check_overrides
from tools.core.settings import check_values
from tools.engine.ensemble import find_checkpoints

__all__ = ["BUNDLES", "check_keys", "config_files", "every_bundle", "find_bundle", "find_weights", "own_copy"]

INSTALLED = Path(__file__).resolve().parents[1] / "_bundles"
"""Where a wheel puts the bundles; a clone has no such folder."""
BUNDLES = INSTALLED if INSTALLED.is_dir() else Path(__file__).resolve().parents[2] / "bundles"
"""The folder of the bundles that come with this package."""


def find_bundle(name: str | Path, needs: str | None = None) -> Path:
    """The folder of a bundle: a path, or a name in `./bundles` or among the bundles that come along.

    Args:
        name: path or name.
        needs: a file that the bundle must have, such as "configs/train.yaml". Default: any folder that has
            a folder `configs` is a bundle.

    Raises:
        InputError: there is no such bundle, or it lacks that file.
    """
    for folder in (Path(name), Path("bundles") / name, BUNDLES / name):
        if (folder / "configs").is_dir():
            if needs and not (folder / needs).is_file():
                raise InputError(f"bundle {name}: expected the file {needs}, found none in {folder}")
            return folder.resolve()
    known = sorted(path.parent.name for path in BUNDLES.glob("*/configs"))
    raise InputError(
        f"bundle: expected the folder of a bundle or one of {', '.join(known)}, found {str(name)!r}"
    )


def every_bundle() -> list[str]:
    """Names of the bundles that come along with weights, in alphabetical order.

    Raises:
        InputError: none has any.
    """
    names = sorted(path.parents[1].name for path in BUNDLES.glob("*/models/model.pt"))
    if not names:
        raise InputError(f"bundle all: expected bundles with weights in {BUNDLES}, found none")
    return names


def own_copy(folder: Path) -> Path:
    """A bundle that runs may write to: one that was installed is copied to `./bundles` first.

    Args:
        folder: of `find_bundle`, which takes the copy the next time.
    """
    if not folder.is_relative_to(INSTALLED):
        return folder
    copy = Path("bundles", folder.name).resolve()
    shutil.copytree(folder, copy)
    print(f"{copy}: a copy of the installed bundle, to train in")
    return copy


def config_files(folder: Path, overlays: Sequence[str] = ()) -> list[str]:
    """`train.yaml` and overlays of `configs/variants` by name, relative to the bundle.

    Raises:
        InputError: there is no such overlay.
    """
    files = ["configs/train.yaml"]
    for name in overlays:
        overlay = f"configs/variants/{name}.yaml"
        if not (folder / overlay).is_file():
            known = sorted(path.stem for path in (folder / "configs" / "variants").glob("*.yaml"))
            raise InputError(f"variant: expected one of {', '.join(['default', *known])}, found {name!r}")
        files.append(overlay)
    return files


def check_keys(folder: Path, files: Sequence[str], keys: Mapping[str, Any]) -> ConfigParser:
    """The configuration of these files, with values for keys that it has.

    Args:
        folder: of the bundle.
        files: configuration files, relative to it.
        keys: values by key.

    Raises:
        InputError: the configuration has no such key (the message names the nearest one), or a value is of
            another kind, see `check_values`.
    """
    parser = ConfigParser()
    parser.read_config([str(folder / file) for file in files])
    values = {key: str(value) if isinstance(value, Path) else value for key, value in keys.items()}
    check_overrides(parser, values, f"{folder.name}'s {' and '.join(files)}")
    check_values(parser)
    return parser


def find_weights(folder: Path, weights: str | Path | None = None) -> list[Path]:
    """The weights of a bundle: its own, others, or all files of a pattern (an ensemble's members).

    Args:
        folder: of the bundle.
        weights: a file, a pattern, or the name of a file in `models/` without its suffix; None is `model`.

    Raises:
        InputError: there are none.
    """
    if weights is not None:
        named = folder / "models" / f"{weights}.pt"
        if Path(weights).name == str(weights) and named.is_file() and not Path(weights).exists():
            return [named]
        exact = Path(weights).is_file()  # a name may hold the brackets of a pattern
        return [path.resolve() for path in ([Path(weights)] if exact else find_checkpoints(weights))]
    path = folder / "models" / "model.pt"
    if not path.is_file():
        raise InputError(
            f"{path}: expected the weights of bundle {folder.name}, found no such file: fetch them "
            f"(headct bundle fetch-weights {folder.name}) or train the bundle"
        )
    return [path]
