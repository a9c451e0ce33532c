"""A datalist's JSON and its entries, checked before any file that they name is opened."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.core.errors import InputError
from tools.core.files import absolute
from tools.core.names import PICTURES, VOLUMES, case_name, slice_name

PATHS = ("image", "label", "classes", "cta")
FILE_ENDINGS = (*VOLUMES, *PICTURES, ".json")

Item = dict[str, Any]


def read_datalist(path: str | Path) -> dict[str, Any]:
    """The JSON object in a datalist.

    Raises:
        InputError: no such file, no JSON, no object, or a key that an object has twice.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a datalist (JSON), found no such file")

    def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        if twice:
            raise InputError(f"{path}: expected each key once in a JSON object, found `{twice[0]}` again")
        return dict(pairs)

    try:
        content = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=once)
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected a datalist (JSON), found: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object with lists of cases, found {_kind(content)}")
    return content


def checked_entry(path: Path, part: str, number: int, entry: Any, need: Sequence[str] = ("image",)) -> Item:
    """An entry whose values have the types they must have, and whose files are absolute paths.

    Args:
        path: the datalist, to whose folder paths are relative.
        part: the list that the entry is in.
        number: its place there, from 0.
        entry: what stands there.
        need: keys that it must have.

    Returns:
        the entry; `fold` and `slice` are whole numbers, `case` and `patient` are text.

    Raises:
        InputError: naming the datalist, the entry and the key.
    """
    where = f"{path}: {part} case {number}"
    if not isinstance(entry, dict):
        raise InputError(f"{where}: expected a dictionary with `image`, found {_kind(entry)}")
    for key in need:
        if key not in entry:
            raise InputError(f"{where}: expected the key `{key}`, found {', '.join(sorted(entry)) or 'none'}")
    item = dict(entry)
    for key in PATHS:
        if key in item and (not isinstance(item[key], str) or not item[key].strip() or "\0" in item[key]):
            raise InputError(f"{where}: expected the path of a file under `{key}`, found {_kind(item[key])}")
    for key, value in item.items():
        names_file = isinstance(value, str) and value.lower().endswith(FILE_ENDINGS)
        if key in PATHS or (names_file and key not in ("case", "patient")):
            item[key] = str(absolute(path.parent / value))
    for key in ("case", "patient"):
        name = item.get(key)
        if name is not None:
            if not isinstance(name, str | int) or isinstance(name, bool) or not str(name).strip():
                raise InputError(f"{where}: expected a name under `{key}`, found {_kind(name)}")
            item[key] = str(name)
    for key in ("fold", "slice", "border"):
        if item.get(key) is not None or (key == "fold" and key in item):
            item[key] = _whole(item[key], f"{where}: expected a whole number from 0 under `{key}`")
    if item.get("windowed") is not None:
        _check_window(item["windowed"], where)
    return item


def name_cases(path: Path, items: Sequence[Item]) -> None:
    """Give every case a name of its own: results are named by it, and a second one would replace the first.

    A name that is given must be the only one. Cases without get the name of their image, with its number
    where it is a single slice, and with as many of its folders as set it apart.

    Raises:
        InputError: two cases with one name, or one image (and slice) in two entries.
    """
    seen: dict[Any, Item] = {}
    for item in items:
        same = (os.path.realpath(item["image"]), item.get("slice"))
        if same in seen:
            number = "" if item.get("slice") is None else f", slice {item['slice']},"
            raise InputError(f"{path}: expected each image once, found {item['image']}{number} again")
        seen[same] = item
    given = Counter(item["case"] for item in items if item.get("case") is not None)
    twice = [name for name, count in given.items() if count > 1]
    if twice:
        images = [item["image"] for item in items if item.get("case") == twice[0]][:2]
        raise InputError(
            f"{path}: expected each `case` once, found {twice[0]!r} for {images[0]} and {images[1]}"
        )
    nameless = [item for item in items if item.get("case") is None]
    depth = 0
    while nameless:
        names = [_name(item, depth) for item in nameless]
        count = Counter(names) + given
        deepest = depth >= max(len(Path(item["image"]).parts) for item in nameless)
        rest = []
        for item, name in zip(nameless, names, strict=True):
            if count[name] == 1:
                item["case"] = name
            elif deepest:
                raise InputError(f"{path}: expected a `case` for {item['image']}, found {name!r} taken")
            else:
                rest.append(item)
        given.update(item["case"] for item in nameless if item not in rest)
        nameless, depth = rest, depth + 1


def _name(item: Mapping[str, Any], depth: int) -> str:
    image = Path(item["image"])
    name = case_name(image)
    folders = [part for part in image.parent.parts if part != image.anchor]
    name = "_".join([*folders[len(folders) - depth :], name]) if depth else name
    return name if item.get("slice") is None else slice_name(name, item["slice"])


def _whole(value: Any, expected: str) -> int:
    number = value
    is_float = isinstance(value, float) and value.is_integer()
    if is_float or (isinstance(value, str) and value.strip().isdecimal()):
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise InputError(f"{expected}, found {_kind(value)}")
    return number


def _check_window(value: Any, where: str) -> None:
    numbers = isinstance(value, list) and all(
        isinstance(part, int | float) and not isinstance(part, bool) and math.isfinite(part) for part in value
    )
    if not numbers or len(value) != 2 or value[1] <= 0:
        expected = "expected level and width in HU under `windowed`, such as [40, 120]"
        raise InputError(f"{where}: {expected}, found {_kind(value)}")


def _kind(value: Any) -> str:
    """A value as messages show it, short."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
