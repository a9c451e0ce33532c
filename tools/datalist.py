"""A MONAI datalist JSON -> checked lists of cases, before anything is trained on them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tools.errors import InputError
from tools.volume_io import find_volumes, is_nifti, read_label

__all__ = [
    "check_pairs",
    "default_datalist",
    "evaluation_cases",
    "inference_cases",
    "load_datalist",
    "select_folds",
]

FILE_ENDINGS = (".nii", ".nii.gz", ".json", ".png", ".jpg", ".jpeg")

Item = dict[str, Any]


def load_datalist(path: str | Path, label_values: Sequence[int] | None = (0, 1)) -> dict[str, list[Item]]:
    """Read a datalist and check every case in it.

    Args:
        path: JSON file of a dictionary whose lists `training` and `testing` hold one dictionary per case:
            `image` and `label` (paths, relative to the JSON file), `fold` for training cases, and whatever
            else belongs to the case (`case`, `patient`, `ivh` ...).
        label_values: values that label maps may hold; None skips reading them. Masks that are pictures have
            no values, see `tools.datasets.read_slice_mask`.

    Returns:
        `{"training": [...], "testing": [...]}` with absolute paths; a list that is absent is empty.

    Raises:
        InputError: the datalist is missing, empty or no datalist; an image or label is missing; an image
            and its label differ in shape or affine; a label has other values than `label_values`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a datalist (JSON), found no such file")
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a datalist (JSON), found: {error}") from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: expected a JSON object with the list `training`, found {type(content).__name__}"
        )
    lists = {key: content.get(key) or [] for key in ("training", "testing")}
    if not any(lists.values()):
        raise InputError(f"{path}: expected cases under `training` or `testing`, found none")
    for key, items in lists.items():
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise InputError(f"{path}: expected `{key}` to be a list of dictionaries, one per case")
        lists[key] = [_with_absolute_paths(item, path.parent) for item in items]
        for number, item in enumerate(lists[key]):
            if "image" not in item:
                raise InputError(
                    f"{path}: expected the key `image` in {key} case {number}, found {sorted(item)}"
                )
        check_pairs(lists[key], label_values)
    return lists


def default_datalist(
    dataset_dir: str | Path,
    phantom_dir: str | Path,
    phantom: Mapping[str, Any],
    label_values: Sequence[int] | None = (0, 1),
    file_name: str = "dataset.json",
) -> dict[str, list[Item]]:
    """`load_datalist` of `dataset_dir`; where that is `phantom_dir`, the synthetic set is made first.

    So a bundle that nobody gave data has something real to train on, while a data set that the user named
    and that is missing stays an error.

    Args:
        dataset_dir: folder of the datalist.
        phantom_dir: folder of the synthetic set.
        phantom: arguments of `tools.phantom.write_phantoms` but the folder. Complete cases are kept.
        label_values: see `load_datalist`.
        file_name: name of the datalist in `dataset_dir`.
    """
    if Path(dataset_dir).resolve() == Path(phantom_dir).resolve():
        from tools.phantom import write_phantoms  # only needed here, and not quick to import

        write_phantoms(phantom_dir, **phantom)
    return load_datalist(Path(dataset_dir, file_name), label_values)


def select_folds(items: Sequence[Item], fold: int, held_out: bool) -> list[Item]:
    """The cases of fold `fold` (`held_out`), or all others: validation and training set of one fold.

    Raises:
        InputError: a case has no `fold`, or the selection is empty.
    """
    for item in items:
        if "fold" not in item:
            raise InputError(f"{item['image']}: expected the key `fold` in its datalist entry, found none")
    chosen = [item for item in items if (int(item["fold"]) == fold) == held_out]
    if not chosen:
        folds = sorted({int(item["fold"]) for item in items})
        raise InputError(
            f"datalist: expected cases {'in' if held_out else 'outside'} fold {fold}, found folds {folds}"
        )
    return chosen


def evaluation_cases(datalist: Mapping[str, Sequence[Item]], fold: int) -> list[Item]:
    """The cases to score: those under `testing`, or the held-out fold where there are none.

    Each gets a further key `reference`, its label once more: preprocessing crops and resamples `label`, and
    scores belong in the geometry of the file.

    Raises:
        InputError: see `select_folds`; also for a case without label.
    """
    items = datalist["testing"] or select_folds(datalist["training"], fold, held_out=True)
    for item in items:
        if "label" not in item:
            raise InputError(f"{item['image']}: expected the key `label` in its datalist entry, found none")
    return [{**item, "reference": item["label"]} for item in items]


def inference_cases(path: str | Path) -> list[Item]:
    """The volumes at `path` (see `tools.volume_io.find_volumes`) as datalist entries without label."""
    return [{"image": str(volume)} for volume in find_volumes(path)]


def check_pairs(items: Sequence[Item], label_values: Sequence[int] | None = (0, 1)) -> None:
    """Check that files exist, that label and image share a grid, and that labels hold allowed values only.

    Only headers are read, and the labels' voxels if `label_values` are given.

    Raises:
        InputError: naming the first file for which that doesn't hold.
    """
    for item in items:
        for key in ("image", "label"):
            if key in item and not Path(item[key]).exists():
                raise InputError(
                    f"{item[key]}: expected the file that the datalist names as `{key}`, found none"
                )
        if "label" not in item:
            continue
        if is_nifti(item["image"]):
            _check_grid(Path(item["image"]), Path(item["label"]))
        if label_values is not None and is_nifti(item["label"]):
            found = read_label(item["label"], orientation=None).unique().int().tolist()
            if not set(found) <= set(label_values):
                raise InputError(
                    f"{item['label']}: expected label values {list(label_values)}, found {found}; "
                    "if it is a multi-class mask, make one with the target class alone"
                )


def _check_grid(image: Path, label: Path) -> None:
    headers = []
    for path in (image, label):
        try:
            headers.append(nib.load(path))
        except Exception as error:
            raise InputError(f"{path}: expected a NIfTI file, found: {error}") from error
    expected, found = headers
    if expected.shape != found.shape:
        raise InputError(f"{label}: expected the shape {expected.shape} of {image}, found {found.shape}")
    if not np.allclose(expected.affine, found.affine, atol=1e-3):
        raise InputError(
            f"{label}: expected the affine of {image}, {expected.affine.tolist()}, "
            f"found {found.affine.tolist()}"
        )


def _with_absolute_paths(item: Mapping[str, Any], root: Path) -> Item:
    """Entries that name files become absolute paths; a `case` without a name gets its image's."""
    resolved = {
        key: str((root / value).resolve()) if key == "image" or _names_file(value) else value
        for key, value in item.items()
    }
    if "image" in resolved:
        resolved.setdefault("case", Path(resolved["image"]).name.split(".")[0])
    return resolved


def _names_file(value: Any) -> bool:
    return isinstance(value, str) and value.lower().endswith(FILE_ENDINGS)
