"""A MONAI datalist JSON -> checked lists of cases, before anything is trained on them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tools.core.errors import InputError
from tools.core.files import input_files, is_dicom
from tools.core.names import case_name, is_nifti, is_volume, neutral_name, shown_name
from tools.data.entries import Item, checked_entry, name_cases, read_datalist
from tools.data.labels import check_hemorrhage
from tools.volumes.grid import grid_fault, reordered_grid
from tools.volumes.read import find_volume_files, open_nifti, read_label


def load_datalist(
    path: str | Path,
    label_values: Sequence[int] | None = (0, 1),
    class_names: Mapping[Any, str] | None = None,
) -> dict[str, list[Item]]:
    """Read a datalist and check every case in it.

    Args:
        path: JSON file of a dictionary whose lists `training` and `testing` hold one dictionary per case:
            `image` and `label` (paths, relative to the JSON file), `fold` for training cases, and whatever
            else belongs to the case (`case`, `patient`, `ivh` ...).
        label_values: values that label maps may hold, pictures aside; None skips reading them.
        class_names: names of the values of masks with several types of hemorrhage. With some, the label of a
            case is the mask that its entry calls `classes`, and these are the values it may hold.

    Returns:
        `{"training": [...], "testing": [...]}` with absolute paths; a list that is absent is empty.

    Raises:
        InputError: no such file, or no datalist with cases; an entry's value is of another type than it must
            be; two cases share a name or an image; `labels` says that 1 is no hemorrhage; an image or label
            is missing; they lie on different grids; a label has other values than `label_values`.
    """
    path = Path(path)
    content = read_datalist(path)
    lists: dict[str, list[Item]] = {}
    for part in ("training", "testing"):
        items = content.get(part) or []
        if not isinstance(items, list):
            raise InputError(f"{path}: expected `{part}` to be a list of dictionaries, one per case")
        lists[part] = [checked_entry(path, part, number, item) for number, item in enumerate(items)]
    if not any(lists.values()):
        raise InputError(f"{path}: expected cases under `training` or `testing`, found none")
    name_cases(path, [*lists["training"], *lists["testing"]])
    check_hemorrhage(path, content.get("labels"))
    for items in lists.values():
        if class_names:
            items[:] = [_with_types(path, item) for item in items]
        check_pairs(items, [0, *map(int, class_names)] if class_names else label_values)
    return lists


def _with_types(path: Path, item: Item) -> Item:
    if "label" in item and "classes" not in item:
        raise InputError(
            f"{path}: expected a mask of the types of hemorrhage, `classes`, in each entry, found none for "
            f"{item['image']}"
        )
    return {**item, "label": item["classes"]} if "classes" in item else item


def default_datalist(
    dataset_dir: str | Path,
    phantom_dir: str | Path,
    phantom: Mapping[str, Any],
    label_values: Sequence[int] | None = (0, 1),
    file_name: str = "dataset.json",
    class_names: Mapping[Any, str] | None = None,
) -> dict[str, list[Item]]:
    """`load_datalist` of `dataset_dir`; where that is `phantom_dir`, the synthetic set is made first.

    A data set that the user named and that is missing stays an error.

    Args:
        dataset_dir: folder of the datalist.
        phantom_dir: folder of the synthetic set.
        phantom: arguments of `tools.phantom.writer.write_phantoms` but the folder. Complete cases are kept.
        label_values, class_names: see `load_datalist`.
        file_name: name of the datalist in `dataset_dir`.
    """
    if Path(dataset_dir).resolve() == Path(phantom_dir).resolve():
        from tools.phantom.writer import write_phantoms  # only needed here, and not quick to import

        write_phantoms(phantom_dir, **phantom)
    return load_datalist(Path(dataset_dir, file_name), label_values, class_names)


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
    """The volume files at `path`, or else its folders of DICOM files, as datalist entries without label.

    `case` names the result: of a NIfTI file its name, with the folders it lies in; of DICOM files a neutral
    name from their UIDs, since folders are called by patients.

    Raises:
        InputError: nothing is there, or neither, or both; two volumes whose results would have the same name.
    """
    path = Path(path)
    found = find_volume_files(path)
    if found:
        others = (file for file in input_files(path) if not is_volume(file)) if path.is_dir() else ()
        dicom = next(filter(is_dicom, others), None)
        if dicom is not None:
            raise InputError(f"{path}: expected volumes or DICOM series, found both: {found[0]} and {dicom}")
        return named(found, path if path.is_dir() else path.parent)
    from tools.volumes.dicom import dicom_folders  # here: NIfTI needs none of its packages

    items: list[Item] = []
    for folder, header in dicom_folders(path).items():
        uids = [str(header.get(name, "") or "") for name in ("StudyInstanceUID", "SeriesInstanceUID")]
        name = neutral_name(*uids) if all(uids) else neutral_name(str(header.get("SOPInstanceUID", folder)))
        items.append({"image": str(folder), "case": name, "study_uid": uids[0]})
    return _unique(items)


def named(files: Sequence[Path], root: Path) -> list[Item]:
    """Images as datalist entries, `case` their place below `root` without the extension.

    Raises:
        InputError: two would be called the same.
    """
    names = {file: file.relative_to(root).parent / case_name(file) for file in files}
    return _unique([{"image": str(file), "case": name.as_posix()} for file, name in names.items()])


def _unique(items: list[Item]) -> list[Item]:
    first: dict[str, str] = {}
    for item in items:
        other = first.setdefault(item["case"].lower(), item["image"])
        if other != item["image"] and "study_uid" in item:
            name = shown_name(item["case"], item["study_uid"])
            raise InputError(f"{name}: expected each DICOM series in one folder, found it in two")
        if other != item["image"]:
            fault = f"expected another name than {other}, found the same, by which the results are named"
            raise InputError(f"{item['image']}: {fault}")
    return items


def check_pairs(items: Sequence[Item], label_values: Sequence[int] | None = (0, 1)) -> None:
    """Check that files exist, that label and image share a grid, and that labels hold allowed values only.

    Only headers are read, and the labels' voxels if `label_values` are given.

    Raises:
        InputError: naming the first file for which that doesn't hold.
    """
    for item in items:
        for key in ("image", "label"):
            if key in item and not os.path.exists(item[key]):  # False too of a name that is too long
                raise InputError(
                    f"{item[key]}: expected the file that the datalist names as `{key}`, found none"
                )
        if "label" not in item:
            continue
        if is_nifti(item["image"]) and is_nifti(item["label"]):
            _check_grid(Path(item["image"]), Path(item["label"]), as_stored="slice" in item)
        if label_values is not None and is_volume(item["label"]):
            found = read_label(item["label"], orientation=None).unique().int().tolist()
            if not set(found) <= set(label_values):
                raise InputError(
                    f"{item['label']}: expected label values {list(label_values)}, found {found}; "
                    "`headct datasets prepare` makes masks of them with these alone"
                )


def _check_grid(image: Path, label: Path, as_stored: bool) -> None:
    """Compare two files' headers; the order of voxels may differ, unless slices are taken `as_stored`."""
    expected, (shape, affine) = _grid(image), _grid(label)
    if not as_stored and len(shape) == 3:
        shape, affine = reordered_grid(shape, affine, expected[1])
    fault = grid_fault(*expected, shape, affine, of=image)
    if fault:
        raise InputError(f"{label}: {fault}")


def _grid(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine of a NIfTI file, of which voxels are not read."""
    try:
        header = open_nifti(path)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: expected a NIfTI file, found: {error}") from error
    shape = header.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if not np.isfinite(header.affine).all() or not np.linalg.det(header.affine[:3, :3]):
        raise InputError(f"{path}: expected an invertible affine, found {header.affine.tolist()}")
    return shape, header.affine
