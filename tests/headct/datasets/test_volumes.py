"""NIfTI data sets: CT-ICH 1.3.1, INSTANCE 2022, BHSD, plain folders, MONAI datalists; tiny trees of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.data import load_decathlon_datalist

from headct.datasets import prepare
from headct.datasets.layouts.bhsd import patient_of
from headct.scores.score import score
from tests.headct.datasets.tiny import AFFINE, SHAPE, head, save, voxels
from tools.core.errors import InputError
from tools.data.datalist import load_datalist, select_folds
from tools.phantom import write_phantoms
from tools.slices.read import read_slice, read_slice_mask

HEADER = (
    "PatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,"
    "No_Hemorrhage,Fracture_Yes_No"
)
PEOPLE = (
    '"Patient Number","Age\n(years)",Gender,Hemorrhage type based on the radiologists diagnosis ,,,,,'
    "Fracture (yes 1/no 0),Note1\n,,,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,,\n"
)


def blob(values: dict[int, int]) -> np.ndarray:
    """A mask of 4 voxels (0.08 mL) of a value on each of the given slices, from 1."""
    mask = np.zeros(SHAPE, np.uint8)
    for number, value in values.items():
        mask[4:6, 4:6, number - 1] = value
    return mask


def content(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


# -- INSTANCE 2022


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    for number in range(1, 7):
        save(tmp_path / f"set/data/{number:03d}.nii.gz", head(number))
        save(tmp_path / f"set/label/{number:03d}.nii.gz", blob(dict.fromkeys(range(1, number), 1)))
    return tmp_path / "set"


def test_instance2022(instance: Path, tmp_path: Path) -> None:
    report = prepare("instance2022", instance, tmp_path / "lists" / "i.json", folds=3, progress=False)
    lists = load_datalist(tmp_path / "lists" / "i.json")  # checks files, grids and label values
    assert [item["case"] for item in lists["training"]] == [f"{k:03d}" for k in range(1, 7)]
    assert len(select_folds(lists["training"], 0, held_out=True)) == 2
    assert [item["volume_ml"] for item in lists["training"]] == [
        {"any": round(0.08 * k, 2)} for k in range(6)
    ]
    item = content(tmp_path / "lists" / "i.json")["training"][0]
    assert item["image"] == "../set/data/001.nii.gz"
    assert report["table"][-1] == ["all", 6, 6, 36, 15, "-", "-", "-", "-", "-", 15, 1.2]
    assert report["findings"] == {"missing": ["cases 007-100 of the 100 of the training set"]}
    items = load_decathlon_datalist(str(tmp_path / "lists" / "i.json"), True, "training")
    assert Path(items[0]["label"]).resolve() == instance / "label" / "001.nii.gz"


def test_entries_per_slice(instance: Path, tmp_path: Path) -> None:
    report = prepare("instance2022", instance, tmp_path / "s.json", folds=3, slices=True, progress=False)
    entries = content(tmp_path / "s.json")["training"]
    assert len(entries) == 36
    assert len({(item["patient"], item["fold"]) for item in entries}) == 6
    for item in entries:
        mask = read_slice_mask(tmp_path / item["label"], item["slice"])
        assert bool(mask.any()) == item["hemorrhage"] == (item["slice"] < int(item["patient"]))
        assert read_slice(tmp_path / item["image"], item["slice"]).shape == (1, 12, 12)
    assert entries[8]["case"] == "002_003"
    assert report["table"][-1][1:5] == [6, 36, 36, 15]
    assert report["table"][-1][-1] == 1.2
    with pytest.raises(InputError, match="found volumes"):
        prepare("instance2022", instance, tmp_path / "s.json", folds=3, by="slice", progress=False)
    balanced = prepare(
        "instance2022", instance, tmp_path / "b.json", 3, "slice", slices=True, balance=True, progress=False
    )
    assert balanced["table"][-1][3:5] == [30, 15]
    assert "scores are optimistic" in balanced["warning"]


def grid(root: Path) -> str:
    save(root / "label/002.nii.gz", blob({})[:, :, :5])
    return "002.nii.gz: expected the shape (12, 12, 6)"


def affine(root: Path) -> str:
    save(root / "label/002.nii.gz", blob({}), np.diag([-2.0, -2.0, 4.0, 1.0]))
    return "002.nii.gz: expected the affine of"


def value(root: Path) -> str:
    save(root / "label/002.nii.gz", blob({1: 3}))
    return "002.nii.gz: expected mask values [0, 1], found [0, 3]"


def fraction(root: Path) -> str:
    save(root / "label/002.nii.gz", blob({1: 1}).astype(np.float32) * 0.5)
    return "002.nii.gz: expected whole class values from 0 to 255, found values from 0 to 0.5"


def windowed(root: Path) -> str:
    save(root / "data/002.nii.gz", np.clip(head(2), 0, 80))
    return "002.nii.gz: expected Hounsfield units with air"


def truncated(root: Path) -> str:
    path = root / "data/002.nii.gz"
    path.write_bytes(path.read_bytes()[:150])
    return "002.nii.gz: expected a complete NIfTI file"


def twin(root: Path) -> str:
    save(root / "data/005.nii.gz", head(2))
    return "005.nii.gz: expected a volume of its own, found the voxels of case 002 again"


def two_formats(root: Path) -> str:
    save(root / "data/002.nii", head(2))
    return "expected one file of case 002"


def no_label_folder(root: Path) -> str:
    (root / "label").rename(root / "labels")
    return "label: expected a folder of masks, found no such folder"


DAMAGES = [grid, affine, value, fraction, windowed, truncated, twin, two_formats, no_label_folder]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_volumes(instance: Path, tmp_path: Path, damage: Callable[[Path], str]) -> None:
    message = damage(instance)
    with pytest.raises(InputError) as error:
        prepare("instance2022", instance, tmp_path / "i.json", folds=3, progress=False)
    assert message in str(error.value)
    assert not (tmp_path / "i.json").exists()


def test_skip_leaves_out_what_cannot_be_used(instance: Path, tmp_path: Path) -> None:
    grid(instance)
    save(instance / "data/007.nii.gz", head(7))
    report = prepare("instance2022", instance, tmp_path / "i.json", folds=2, skip=2, progress=False)
    assert "partners of 1 images: 007" in report["findings"]["missing"]
    assert report["findings"]["left out"] == ["002, as asked"]
    assert report["table"][-1][1] == 5


# -- BHSD


@pytest.fixture
def bhsd(tmp_path: Path) -> Path:
    masks = [{1: 1}, {1: 2, 2: 3}, {3: 4}, {4: 5, 5: 5}, {}, {2: 2}]
    patients = ["0a", "0b", "0c", "0d", "0e", "0a"]  # two studies of the first
    for number, (patient, mask) in enumerate(zip(patients, masks, strict=True)):
        name = f"ID_{patient}_ID_{number:02x}.nii.gz"
        save(tmp_path / "set/label_192/images" / name, head(number))
        save(tmp_path / "set/label_192/ground truths" / name, blob(mask))
    return tmp_path / "set"


def test_bhsd(bhsd: Path, tmp_path: Path) -> None:
    report = prepare("bhsd", bhsd, tmp_path / "b.json", folds=5, progress=False)
    entries = load_datalist(tmp_path / "b.json")["training"]  # labels are 0 and 1
    assert [item["types"] for item in entries] == [
        "edh",
        "iph",
        "iph+ivh",
        "sah",
        "sdh",
        "",
    ]  # order of files
    assert [item["ivh"] for item in entries] == [False, False, True, False, False, False]
    assert [item["patient"] for item in entries[:2]] == ["ID_0a", "ID_0a"]
    assert entries[0]["fold"] == entries[1]["fold"]
    assert entries[2]["volume_ml"] == {
        "any": 0.16, "edh": 0, "iph": 0.08, "ivh": 0.08, "sah": 0, "sdh": 0, "unknown": 0
    }  # fmt: skip
    for item in entries:
        np.testing.assert_array_equal(voxels(item["label"]), voxels(item["classes"]) > 0)
        np.testing.assert_allclose(nib.load(item["label"]).affine, AFFINE)
    assert report["table"][-1] == ["all", 5, 6, 36, 7, 1, 2, 1, 1, 2, 0, 0.6]
    assert report["findings"] == {"missing": ["186 of the 192 volumes with masks"]}
    # Scoring the labels against the datalist works as it does for phantoms.
    assert score(tmp_path / "b_masks" / "labels", tmp_path / "b.json", plots=False, progress=False)


def test_bhsd_with_one_type_as_label(bhsd: Path, tmp_path: Path) -> None:
    """The 2021 paper's task: intraparenchymal blood; intraventricular is background."""
    prepare("bhsd", bhsd, tmp_path / "b.json", folds=0, types="iph", progress=False)
    made = content(tmp_path / "b.json")
    assert made["labels"] == {"0": "background", "1": "iph"}
    for item in made["training"]:
        label, classes = voxels(tmp_path / item["label"]), voxels(tmp_path / item["classes"])
        np.testing.assert_array_equal(label, classes == 2)


def test_bhsd_patients() -> None:
    assert patient_of("ID_0219ef88_ID_e5c1a31210") == "ID_0219ef88"
    assert patient_of("scan_7") == "scan_7"


# -- CT-ICH 1.3.1


@pytest.fixture
def ct_ich(tmp_path: Path) -> Path:
    """Four patients: one type; two types on a slice; table and mask that disagree; nothing."""
    root = tmp_path / "set"
    types = {49: {2: "edh", 3: "edh"}, 50: {1: "iph", 2: "iph ivh"}, 66: {1: "sdh"}, 67: {}, 60: {}}
    masks = {49: {2: 255, 3: 255}, 50: {1: 255, 2: 255}, 66: {2: 255}, 67: {}}
    columns = ("ivh", "iph", "sah", "edh", "sdh")
    lines = [HEADER]
    for patient, slices in types.items():
        for number in range(1, SHAPE[2] + 1):
            seen = slices.get(number, "").split()
            flags = ",".join(str(int(kind in seen)) for kind in columns)
            lines.append(f"{patient},{number},{flags},{int(not seen)},0")
    (root / "ct_scans").mkdir(parents=True)
    (root / "hemorrhage_diagnosis_raw_ct.csv").write_text("\n".join([*lines, ",,,,,,,,"]), "utf-8-sig")
    rows = [
        "49,35,Male,,,,1,,,",
        "50,4,Female,1,1,,,,1,",
        "60,4,Female,,,,,,,",
        "66,,Male,,,,,1,,",
        "67,9,Male,,,,,,,",
    ]
    (root / "Patient_demographics.csv").write_text(PEOPLE + "\n".join(rows) + "\n,,,,,,,,,\n")
    for patient, mask in masks.items():
        save(root / f"ct_scans/{patient:03d}.nii", head(patient))
        # The masks of 1.3.1 are scaled: values come out a little beside 255.
        save(root / f"masks/{patient:03d}.nii", blob(mask).astype(np.float32) * np.float32(0.99999))
    return root


def test_ct_ich_v131(ct_ich: Path, tmp_path: Path) -> None:
    report = prepare("ct_ich_v131", ct_ich, tmp_path / "c.json", folds=2, progress=False)
    entries = load_datalist(tmp_path / "c.json")["training"]
    assert [item["case"] for item in entries] == ["049", "050", "066", "067"]
    assert [item["types"] for item in entries] == ["edh", "iph+ivh", "", ""]
    assert [item["classes_complete"] for item in entries] == [True, False, False, True]
    np.testing.assert_array_equal(voxels(entries[0]["classes"]), blob({2: 1, 3: 1}))
    np.testing.assert_array_equal(voxels(entries[1]["classes"]), blob({1: 2, 2: 255}))
    np.testing.assert_array_equal(voxels(entries[2]["classes"]), blob({2: 255}))
    np.testing.assert_array_equal(voxels(entries[1]["label"]), blob({1: 1, 2: 1}))
    assert entries[1]["volume_ml"] == {
        "any": 0.16, "edh": 0, "iph": 0.08, "ivh": 0, "sah": 0, "sdh": 0, "unknown": 0.08
    }  # fmt: skip
    # patients, cases, slices, with hemorrhage; EDH, IPH, IVH, SAH, SDH, unknown; mL
    assert report["table"][-1] == ["all", 4, 4, 24, 5, 2, 2, 1, 0, 0, 1, 0.4]
    assert report["findings"] == {
        "missing": ["age or sex of patient 066"],
        "contradiction": [
            "patient 066: a mask, but no hemorrhage in the table, on slices 2",
            "patient 066: hemorrhage in the table, but no mask, on slices 1",
        ],
    }
    assert content(tmp_path / "c.json")["patients"]["050"] == {"age": 4.0, "sex": "female", "fracture": True}


def test_ct_ich_v131_per_slice_knows_all_types(ct_ich: Path, tmp_path: Path) -> None:
    prepare("ct_ich_v131", ct_ich, tmp_path / "c.json", folds=2, slices=True, progress=False)
    entries = {item["case"]: item for item in content(tmp_path / "c.json")["training"]}
    assert len(entries) == 24
    assert entries["050_002"]["types"] == "iph+ivh"
    assert entries["049_003"]["types"] == "edh"
    assert entries["049_004"]["types"] == ""
    assert (entries["066_002"]["types"], entries["066_002"]["hemorrhage"]) == ("", True)


def test_ct_ich_v131_gaps(ct_ich: Path, tmp_path: Path) -> None:
    """A table that ends early, a lost scan; patients 59-65 have none, which is known."""
    table = ct_ich / "hemorrhage_diagnosis_raw_ct.csv"
    lines = table.read_text("utf-8-sig").splitlines()
    table.write_text("\n".join(line for line in lines if not line.startswith("49,6,")))
    (ct_ich / "ct_scans/067.nii").unlink()
    (ct_ich / "masks/067.nii").unlink()
    missing = prepare("ct_ich_v131", ct_ich, tmp_path / "c.json", folds=0, progress=False)["findings"][
        "missing"
    ]
    assert "scans of patients 067" in missing
    assert "patient 049: table rows of slices 6" in missing
    assert not any("060" in text and "scans" in text for text in missing)


def test_ct_ich_v131_bad_values_and_names(ct_ich: Path, tmp_path: Path) -> None:
    save(ct_ich / "masks/049.nii", blob({1: 1, 2: 2}))
    with pytest.raises(
        InputError, match=r"049.nii: expected mask values 0 and 1 or 0 and 255, found \[0, 1, 2\]"
    ):
        prepare("ct_ich_v131", ct_ich, tmp_path / "c.json", progress=False)
    for folder in ("ct_scans", "masks"):
        (ct_ich / folder / "049.nii").rename(ct_ich / folder / "scan49.nii")
    with pytest.raises(InputError, match="expected files named by patient number"):
        prepare("ct_ich_v131", ct_ich, tmp_path / "c.json", progress=False)


# -- plain folders and MONAI datalists


def test_folder_of_volumes_in_nnunet_layout(tmp_path: Path) -> None:
    for patient, number in (("a", 1), ("a", 2), ("b", 1), ("c", 1)):
        name = f"{patient}_{number}"
        save(tmp_path / f"set/imagesTr/{name}_0000.nii.gz", head(10 * ord(patient) + number))
        save(tmp_path / f"set/labelsTr/{name}.nii.gz", blob({1: 2, 2: 3}))
    arguments = {"folds": 3, "progress": False}
    report = prepare("folder", tmp_path / "set", tmp_path / "f.json", patient_from="^([a-z])_", **arguments)
    entries = load_datalist(tmp_path / "f.json")["training"]
    assert [item["patient"] for item in entries] == ["a", "a", "b", "c"]
    assert len({(item["patient"], item["fold"]) for item in entries}) == 3
    assert {item["types"] for item in entries} == {"iph+ivh"}  # values 1 to 5 are types
    assert list(report["findings"]) == ["note"]
    assert "no file says what: taken for 1 EDH, 2 IPH" in report["findings"]["note"][0]
    report = prepare("folder", tmp_path / "set", tmp_path / "f.json", **arguments)
    assert "every file counts as one" in report["findings"]["note"][1]
    save(tmp_path / "set/labelsTr/b_1.nii.gz", blob({1: 6}))
    with pytest.raises(InputError, match=r"expected mask values \[0, 1, 2, 3, 4, 5, 255\], found \[0, 6\]"):
        prepare("folder", tmp_path / "set", tmp_path / "f.json", **arguments)


def test_folder_without_pairs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected the folders images/ and labels/.*found no folder"):
        prepare("folder", tmp_path, tmp_path / "f.json", progress=False)
    save(tmp_path / "images/a.nii.gz", head(0))
    save(tmp_path / "labels/b.nii.gz", blob({}))
    with pytest.raises(InputError, match="expected images and masks of the same names, found no pair"):
        prepare("folder", tmp_path, tmp_path / "f.json", progress=False)


def test_decathlon_from_phantoms(tmp_path: Path) -> None:
    """The synthetic set's own datalist is one: patients, volumes and further files are kept."""
    path = write_phantoms(tmp_path / "p", 2, shape=(32, 32, 8), spacing=(7.0, 7.0, 20.0), test_cases=1)
    report = prepare("decathlon", tmp_path / "p", tmp_path / "d.json", folds=2, progress=False)
    before, after = (load_datalist(p) for p in (path, tmp_path / "d.json"))
    for part, count in (("training", 2), ("testing", 1)):
        assert len(after[part]) == count
        for key in ("image", "label", "case", "patient", "brain", "truth"):
            assert [item[key] for item in before[part]] == [item[key] for item in after[part]]
    assert sorted(item["fold"] for item in after["training"]) == [0, 1]
    assert report["findings"] == {}
    kept = prepare("decathlon", path, tmp_path / "e.json", folds=0, progress=False)
    assert [item["fold"] for item in content(tmp_path / "e.json")["training"]] == [0, 1]
    assert kept["table"][-1][1] == 3
    twice = content(path)
    twice["testing"].append({**twice["testing"][0], "case": "other"})
    (tmp_path / "p/twice.json").write_text(json.dumps(twice))
    with pytest.raises(InputError, match=r"expected each image once, found .*case_002.nii.gz again"):
        prepare("decathlon", tmp_path / "p/twice.json", tmp_path / "f.json", progress=False)


def test_decathlon_names_the_lists_that_it_does_not_take(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        save(tmp_path / f"{name}.nii.gz", head(seed))
        save(tmp_path / f"{name}_m.nii.gz", blob({1: 1}))
    one, other = ({"image": f"{name}.nii.gz", "label": f"{name}_m.nii.gz"} for name in "ab")
    (tmp_path / "dataset.json").write_text(json.dumps({"training": [one], "validation": [other]}))
    report = prepare("decathlon", tmp_path, tmp_path / "d.json", folds=0, progress=False)
    assert report["findings"]["unexpected"] == ["list `validation` of 1: only training and test are taken"]


def test_decathlon_with_images_alone_and_reserved_keys(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / f"imagesTr/{name}.nii.gz", head(ord(name)))
        save(tmp_path / f"labelsTr/{name}.nii.gz", blob({1: 1}))
    save(tmp_path / "imagesTs/c.nii.gz", head(3))
    training = [
        {"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz", "image_id": n} for n in "ab"
    ]
    tests = ["./imagesTs/c.nii.gz", "./imagesTs/gone.nii.gz"]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": training, "test": tests}))
    report = prepare("decathlon", tmp_path, tmp_path / "d.json", folds=2, progress=False)
    assert report["findings"]["left out"] == [
        "key image_id of a", "key image_id of b", "1 images without mask, as c.nii.gz"
    ]  # fmt: skip
    assert report["findings"]["missing"] == ["imagesTs/gone.nii.gz"]
    assert not any("image_id" in item for item in content(tmp_path / "d.json")["training"])


BAD_LISTS = {
    "none": (None, "expected a datalist (JSON), found no such file"),
    "text": ("training", "expected a datalist (JSON), found: "),
    "list": ([], "expected a JSON object with lists of cases, found []"),
    "key": ({"train": []}, "expected a JSON object with the list `training`, found train"),
    "entry": (
        {"training": [{"image": "a.nii.gz"}]},
        "training case 0: expected the key `label`, found image",
    ),
    "file": ({"training": [{"image": "a.nii.gz", "label": "b.nii.gz"}]}, "a.nii.gz: expected a NIfTI file"),
    "empty": ({"training": []}, "expected at least one case, found none that is left"),
}


@pytest.mark.parametrize(("datalist", "message"), BAD_LISTS.values(), ids=BAD_LISTS)
def test_bad_datalist(tmp_path: Path, datalist: Any, message: str) -> None:
    if datalist is not None:
        text = datalist if isinstance(datalist, str) else json.dumps(datalist)
        (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError) as error:
        prepare("decathlon", tmp_path, tmp_path / "d.json", progress=False)
    assert message in str(error.value)


def test_the_same_files_every_time(bhsd: Path, tmp_path: Path) -> None:
    """To the byte, and nothing is written beside the data."""
    before = sorted(bhsd.rglob("*"))
    for run in ("one", "two"):
        prepare("bhsd", bhsd, tmp_path / run / "b.json", folds=3, progress=False)
    files = [
        sorted(p.relative_to(tmp_path / run) for p in (tmp_path / run).rglob("*.*")) for run in ("one", "two")
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 7
    for file in files[0]:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert sorted(bhsd.rglob("*")) == before
