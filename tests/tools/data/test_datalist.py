"""Datalists: paths, folds, and every way in which one can be wrong."""

from __future__ import annotations

import json
import re

import nibabel as nib
import numpy as np
import pytest
import torch

from tools.core.errors import InputError
from tools.data.datalist import default_datalist, evaluation_cases, load_datalist, select_folds
from tools.volumes.read import LoadVolumed

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


def test_labels_of_several_types_are_the_classes_of_the_entries(data_set):
    """A binary mask would teach that all blood is of the first type."""
    names = {"1": "edh", 2: "iph"}  # keys as JSON has them, and as YAML
    with pytest.raises(
        InputError, match=r"dataset\.json: expected a mask of the types .*, found none for .*image_0"
    ):
        load_datalist(data_set, class_names=names)
    content = json.loads(data_set.read_text())
    for number, item in enumerate(content["training"]):
        item["classes"] = f"classes_{number}.nii.gz"
        types = 2 * np.asarray(nib.load(data_set.parent / item["label"]).dataobj)
        nib.save(nib.Nifti1Image(types, np.eye(4)), data_set.parent / item["classes"])
    content["testing"] = [{"image": "image_0.nii.gz"}]  # without any mask
    content["testing"][0]["case"] = "other"
    content["training"] = content["training"][1:]
    data_set.write_text(json.dumps(content))
    lists = load_datalist(data_set, class_names=names)
    assert [item["label"] for item in lists["training"]] == [
        str(data_set.parent / f"classes_{number}.nii.gz") for number in (1, 2)
    ]
    assert "label" not in lists["testing"][0]
    assert load_datalist(data_set)["training"][0]["label"] == str(data_set.parent / "label_1.nii.gz")
    with pytest.raises(InputError, match=r"classes_1.*expected label values \[0, 1\], found \[0, 2\]"):
        load_datalist(data_set, class_names={1: "edh"})


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
    ("a list", "a JSON object with lists of cases, found [1]"),
    ("no image", "`image`"),
    ("image gone", "datalist names as `image`"),
    ("label gone", "datalist names as `label`"),
    ("no NIfTI", "expected a NIfTI file"),
    ("shape", "expected the shape (8, 8, 4)"),
    ("affine", "expected the affine of"),
    ("class", "expected label values [0, 1], found [0, 3]"),
    ("fraction", "whole class values from 0 to 255, found values from 0 to 0.5"),
]


@pytest.mark.parametrize(("what", "message"), SPOILED, ids=[row[0] for row in SPOILED])
def test_wrong_datalists(data_set, what, message):
    file = _spoil(data_set, what)
    with pytest.raises(InputError, match=f"^{re.escape(str(file))}: .*{re.escape(message)}"):
        load_datalist(data_set)


BAD_VALUES = [
    ('{"image": 7}', "training case 0: expected the path of a file under `image`, found 7"),
    ('{"image": null}', "expected the path of a file under `image`, found null"),
    ('{"image": ["image_0.nii.gz"]}', "expected the path of a file under `image`, found ["),
    ('{"image": ""}', "expected the path of a file under `image`"),
    ('{"image": "a\\u0000.nii"}', "expected the path of a file under `image`"),
    ('{"image": "image_0.nii.gz", "label": null}', "expected the path of a file under `label`, found null"),
    ('{"image": "image_0.nii.gz", "cta": 7}', "expected the path of a file under `cta`, found 7"),
    ('{"image": "image_0.nii.gz", "fold": "abc"}', 'whole number from 0 under `fold`, found "abc"'),
    ('{"image": "image_0.nii.gz", "fold": 0.7}', "whole number from 0 under `fold`, found 0.7"),
    ('{"image": "image_0.nii.gz", "fold": NaN}', "whole number from 0 under `fold`, found NaN"),
    ('{"image": "image_0.nii.gz", "fold": -1}', "whole number from 0 under `fold`, found -1"),
    ('{"image": "image_0.nii.gz", "fold": true}', "whole number from 0 under `fold`, found true"),
    ('{"image": "image_0.nii.gz", "fold": null}', "whole number from 0 under `fold`, found null"),
    ('{"image": "image_0.nii.gz", "fold": [0]}', "whole number from 0 under `fold`, found [0]"),
    ('{"image": "image_0.nii.gz", "slice": 1.5}', "whole number from 0 under `slice`, found 1.5"),
    ('{"image": "image_0.nii.gz", "case": {}}', "expected a name under `case`, found {}"),
    ('{"image": "image_0.nii.gz", "windowed": [40, 0]}', "level and width in HU under `windowed`"),
    ('{"image": "image_0.nii.gz", "windowed": "brain"}', "level and width in HU under `windowed`"),
    (
        '{"image": "image_0.nii.gz", "image": "image_1.nii.gz"}',
        "each key once in a JSON object, found",
    ),
    ('"image_0.nii.gz"', "training case 0: expected a dictionary with `image`"),
]


@pytest.mark.parametrize(("entry", "message"), BAD_VALUES, ids=[row[0] for row in BAD_VALUES])
def test_wrong_values_are_named_before_a_file_is_read(data_set, entry, message):
    data_set.write_text(f'{{"training": [{entry}]}}')
    with pytest.raises(InputError, match=f"^{re.escape(str(data_set))}: .*{re.escape(message)}"):
        load_datalist(data_set)


def test_lists_that_only_look_wrong(data_set):
    """Whole numbers as other programs write them, a byte-order mark, lists that are null."""
    items = json.loads(data_set.read_text())["training"]
    for item, fold in zip(items, ("0", 1.0, 0), strict=True):
        item["fold"] = fold
    data_set.write_text(json.dumps({"training": items, "testing": None}), "utf-8-sig")
    assert [item["fold"] for item in load_datalist(data_set)["training"]] == [0, 1, 0]


def test_every_case_has_a_name_of_its_own(data_set):
    """Results are named by it: no name may occur twice; files of one name are told by their folders."""
    items = json.loads(data_set.read_text())["training"]
    for number, name in enumerate(("one", "two")):
        (data_set.parent / name).mkdir()
        for kind in ("image", "label"):
            content = (data_set.parent / f"{kind}_{number}.nii.gz").read_bytes()
            (data_set.parent / name / f"{kind}.nii.gz").write_bytes(content)
    pairs = [{"image": f"{name}/image.nii.gz", "label": f"{name}/label.nii.gz"} for name in ("one", "two")]
    data_set.write_text(json.dumps({"training": pairs}))
    assert [item["case"] for item in load_datalist(data_set)["training"]] == ["one_image", "two_image"]
    slices = [{**items[0], "slice": number} for number in (1, 2)]
    data_set.write_text(json.dumps({"training": slices}))
    assert [item["case"] for item in load_datalist(data_set)["training"]] == ["image_0_001", "image_0_002"]
    for wrong, message in (
        ([{**items[0], "case": "a"}, {**items[1], "case": "a"}], "expected each `case` once, found 'a'"),
        ([items[0], {**items[0], "case": "b"}], "expected each image once"),
    ):
        data_set.write_text(json.dumps({"training": wrong[:1], "testing": wrong[1:]}))
        with pytest.raises(InputError, match=message):
            load_datalist(data_set)


@pytest.mark.parametrize("labels", [{"PHE": 1, "ICH": 2}, {"1": "edema"}, {"1": "tumor"}, {"bone": [1, 2]}])
def test_a_label_that_is_no_hemorrhage_is_not_learnt_as_one(data_set, labels):
    content = json.loads(data_set.read_text())
    data_set.write_text(json.dumps({"labels": labels, **content}))
    with pytest.raises(InputError, match="expected hemorrhage or a type of it as the label 1, found"):
        load_datalist(data_set)
    for name in ("hemorrhage", "ICH", "iph", "edh+sdh"):
        data_set.write_text(json.dumps({"labels": {"0": "background", "1": name}, **content}))
        assert len(load_datalist(data_set)["training"]) == 3


def test_masks_in_another_order_or_of_255_are_the_same(data_set):
    """What `prepare` and `score` take, training takes: 3D Slicer's order of voxels, white on black."""
    image, path = data_set.parent / "image_0.nii.gz", data_set.parent / "label_0.nii.gz"
    load = LoadVolumed(["image", "label"], ["label"])
    before = load({"image": image, "label": path})["label"]
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    turn[:2, 3] = 7
    data = np.asarray(nib.load(path).dataobj)
    nib.save(nib.Nifti1Image((data[::-1, ::-1] * 255).astype(np.uint8), np.eye(4) @ turn), path)
    assert len(load_datalist(data_set)["training"]) == 3
    after = load({"image": image, "label": path})["label"]
    assert torch.equal(before.as_tensor(), after.as_tensor())
    assert torch.equal(before.affine, after.affine)
