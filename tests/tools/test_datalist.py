"""Datalists: paths, folds, and every way in which one can be wrong."""

from __future__ import annotations

import json
import re

import nibabel as nib
import numpy as np
import pytest

from tools.datalist import default_datalist, evaluation_cases, load_datalist, select_folds
from tools.errors import InputError

SHAPE = (8, 8, 4)


@pytest.fixture
def data_set(tmp_path):
    """Three cases in two folds."""
    items = []
    for number in range(3):
        image = np.full(SHAPE, -1000, np.int16)
        image[2:6, 2:6] = 300
        label = np.zeros(SHAPE, np.uint8)
        label[3, 3, number] = 1
        for name, array in (("image", image), ("label", label)):
            nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}_{number}.nii.gz")
        items.append(
            {"image": f"image_{number}.nii.gz", "label": f"label_{number}.nii.gz", "fold": number % 2}
        )
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"training": items}))
    return path


def test_paths_become_absolute_and_cases_get_names(data_set):
    lists = load_datalist(data_set)
    assert [item["case"] for item in lists["training"]] == ["image_0", "image_1", "image_2"]
    assert lists["training"][0]["label"] == str(data_set.parent / "label_0.nii.gz")
    assert lists["testing"] == []


def test_folds_share_no_case_and_lose_none(data_set):
    items = load_datalist(data_set)["training"]
    training = select_folds(items, 0, held_out=False)
    held_out = select_folds(items, 0, held_out=True)
    assert [item["case"] for item in training] == ["image_1"]
    assert [item["case"] for item in held_out] == ["image_0", "image_2"]
    with pytest.raises(InputError, match=r"in fold 7, found folds \[0, 1\]"):
        select_folds(items, 7, held_out=True)


def test_evaluation_takes_test_cases_else_the_held_out_fold(data_set):
    lists = load_datalist(data_set)
    held_out = evaluation_cases(lists, fold=1)
    assert [item["case"] for item in held_out] == ["image_1"]
    assert held_out[0]["reference"] == held_out[0]["label"]
    lists["testing"] = lists["training"][:1]
    assert [item["case"] for item in evaluation_cases(lists, fold=1)] == ["image_0"]


def test_default_set_is_made_but_a_named_one_never(tmp_path):
    phantom = {"cases": 2, "folds": 2, "shape": (32, 32, 8), "spacing": (6.0, 6.0, 20.0)}
    made = default_datalist(tmp_path / "phantom", tmp_path / "phantom", phantom)
    assert len(made["training"]) == 2
    with pytest.raises(InputError, match="found no such file"):
        default_datalist(tmp_path / "mine", tmp_path / "phantom", phantom)
    assert not (tmp_path / "mine").exists()


def _spoil(data_set, what):
    """Break one thing; the file that the message has to name."""
    root = data_set.parent
    label = root / "label_0.nii.gz"
    data, affine = np.asarray(nib.load(label).dataobj), np.eye(4)
    if what == "absent":
        data_set.unlink()
    elif what == "empty":
        data_set.write_text('{"training": []}')
    elif what == "no JSON":
        data_set.write_text("training:")
    elif what == "a list":
        data_set.write_text("[1]")
    elif what == "no image":
        data_set.write_text('{"training": [{"label": "label_0.nii.gz"}]}')
    elif what in ("image gone", "label gone"):
        file = root / f"{what.split()[0]}_0.nii.gz"
        file.unlink()
        return file
    elif what == "no NIfTI":
        label.write_text("hello")
        return label
    else:
        data = {"shape": data[:-1], "class": data * 3, "fraction": data * 0.5}.get(what, data)
        affine[0, 3] = 5.0 if what == "affine" else 0.0
        nib.save(nib.Nifti1Image(data, affine), label)
        return label
    return data_set


SPOILED = [
    ("absent", "expected a datalist (JSON), found no such file"),
    ("empty", "expected cases under `training` or `testing`, found none"),
    ("no JSON", "expected a datalist (JSON), found: "),
    ("a list", "object with the list `training`"),
    ("no image", "`image`"),
    ("image gone", "datalist names as `image`"),
    ("label gone", "datalist names as `label`"),
    ("no NIfTI", "expected a NIfTI file"),
    ("shape", "expected the shape (8, 8, 4)"),
    ("affine", "expected the affine of"),
    ("class", "expected label values [0, 1], found [0, 3]"),
    ("fraction", "whole, non-negative"),
]


@pytest.mark.parametrize(("what", "message"), SPOILED, ids=[row[0] for row in SPOILED])
def test_wrong_datalists(data_set, what, message):
    file = _spoil(data_set, what)
    with pytest.raises(InputError, match=f"^{re.escape(str(file))}: .*{re.escape(message)}"):
        load_datalist(data_set)
