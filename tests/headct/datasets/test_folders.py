"""Folders as people hand them over: names, masks of any rounding and order, other grids, named values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from headct.datasets import prepare
from tests.headct.datasets.tiny import AFFINE, SHAPE, head, save
from tools.core.errors import InputError
from tools.data.datalist import load_datalist

TRUTH = np.zeros(SHAPE, np.uint8)
TRUTH[4:7, 4:6, 2:4] = 1  # 12 voxels


def prepared(root: Path, **arguments: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Entries as training reads them, and the report."""
    arguments = {"folds": 0, "progress": False, "dataset": "folder", **arguments}
    report = prepare(root=root, out=root.parent / "out" / "d.json", **arguments)
    return load_datalist(root.parent / "out" / "d.json")["training"], report


NAMES = {
    "flat": [("scan_01.nii.gz", "scan_01_mask.nii.gz"), ("scan_02.nii.gz", "scan_02_mask.nii.gz")],
    "other words": [("a.nii", "a-seg.nii.gz"), ("b_ct.nii.gz", "b_Label.nii.gz")],
    "before the name": [("a.nii.gz", "mask_a.nii.gz"), ("b.nii.gz", "mask_b.nii.gz")],
    "two folders": [("images/a.nii.gz", "masks/a_mask.nii.gz"), ("images/b_0000.nii.gz", "masks/b.nii.gz")],
    "unpacked by Kaggle": [("images/a.nii/a.nii", "masks/a.nii/a.nii"), ("images/b.nii", "masks/b.nii")],
    "accents of two kinds": [
        ("images/J\u00fcrg.nii", "masks/Ju\u0308rg.nii"),
        ("images/b.nii", "masks/b.nii"),
    ],
    "a folder each": [("p1/ct.nii.gz", "p1/mask.nii.gz"), ("p2/scan.nii.gz", "p2/scan_seg.nii.gz")],
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_pairs_by_name(tmp_path: Path, names: list[tuple[str, str]]) -> None:
    for seed, (image, mask) in enumerate(names):
        save(tmp_path / "set" / image, head(seed))
        save(tmp_path / "set" / mask, TRUTH)
    entries, report = prepared(tmp_path / "set")
    assert [item["image"] for item in entries] == [str(tmp_path / "set" / image) for image, _ in names]
    assert [item["label"] for item in entries] == [str(tmp_path / "set" / mask) for _, mask in names]
    assert report["table"][-1][-1] == 0.5
    assert set(report["findings"]) == {"note"}


@pytest.mark.parametrize(
    ("pair", "elsewhere"),
    [("images/a.nii.gz masks/a.nii.gz", "images/site/b.nii.gz"), ("a.nii.gz a_mask.nii.gz", "b/ct.nii.gz")],
)
def test_files_that_lie_elsewhere_are_said(tmp_path: Path, pair: str, elsewhere: str) -> None:
    image, mask = pair.split()
    for seed, name in enumerate((image, elsewhere)):
        save(tmp_path / "set" / name, head(seed))
    save(tmp_path / "set" / mask, TRUTH)
    save(tmp_path / "set" / ".cache" / "c.nii.gz", TRUTH)
    for _ in range(2):  # the second time with a mask that prepare has made
        report = prepare("folder", tmp_path / "set", tmp_path / "set" / "d.json", folds=0, progress=False)
        assert report["findings"]["unexpected"] == [f"files elsewhere than the pairs: 1, as {elsewhere}"]
        save(tmp_path / "set" / "d_masks" / "labels" / "a.nii.gz", TRUTH)


def test_patterns_that_find_no_patient_or_are_not_looked_at(tmp_path: Path) -> None:
    for seed, name in enumerate(("p1_a", "b")):
        save(tmp_path / "set" / f"{name}.nii.gz", head(seed))
        save(tmp_path / "set" / f"{name}_mask.nii.gz", TRUTH)
    for pattern in (r"(?:p(\d+))?", r"p?(\d*)"):  # of `b` the group is none, and empty
        with pytest.raises(InputError, match="b: expected a name whose patient the first group"):
            prepared(tmp_path / "set", patient_from=pattern)
    with pytest.raises(InputError, match=r"patient_from: .* folder, .* found it for instance2022"):
        prepared(tmp_path / "set", dataset="instance2022", patient_from="(p.)")


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    for seed, case in enumerate(("a/b_c", "a/x", "a_b/c", "a_b/y")):
        save(tmp_path / "set" / f"{case}_ct.nii.gz", head(seed))
        save(tmp_path / "set" / f"{case}_mask.nii.gz", TRUTH)
    with pytest.raises(InputError, match=r"a_b/c_ct.nii.gz: expected a case of its own, .*/a/b_c_ct.nii.gz"):
        prepared(tmp_path / "set")


def test_folders_and_files_that_are_links(tmp_path: Path) -> None:
    """A datalist in a linked folder, of links to files without ending, as Hugging Face's cache has them."""
    for seed, name in enumerate(("a.nii.gz", "a_mask.nii.gz")):
        path = save(tmp_path / "set" / name, TRUTH if seed else head(1))
        path.rename(tmp_path / f"blob{seed}")
        path.symlink_to(tmp_path / f"blob{seed}")
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "deep")
    (entry,), _ = prepared(tmp_path / "set")
    assert (entry["image"], entry["case"]) == (str(tmp_path / "set" / "a.nii.gz"), "a")


def test_what_no_head_shows_is_said(tmp_path: Path) -> None:
    """A slice of one value, a qform that lies elsewhere, a mask of 864 voxels of 3.375 mL."""
    image = nib.Nifti1Image(head(1), np.diag([-15.0, -15, 15, 1]))
    image.dataobj[..., 2] = 0
    image.set_qform(np.diag([15.0, -15, 15, 1]), code=1)
    (tmp_path / "set").mkdir()
    nib.save(image, tmp_path / "set/a.nii")
    save(tmp_path / "set/a_mask.nii", np.ones(SHAPE, np.uint8), image.affine)
    forms, blank, much = prepared(tmp_path / "set")[1]["findings"]["unexpected"]
    assert "up to 330 mm apart" in forms
    assert blank.startswith("a: 1 of 6 slices are blank between others (the first is number 3)")
    assert much == "a: expected at most 500 mL of hemorrhage in a head, found 2916 mL"


def test_partners_that_lack_and_masks_that_are_two(tmp_path: Path) -> None:
    for name in ("a", "a_mask", "b", "c_mask"):
        save(tmp_path / "set" / f"{name}.nii.gz", TRUTH if "mask" in name else head(ord(name)))
    entries, report = prepared(tmp_path / "set")
    assert [item["case"] for item in entries] == ["a"]
    assert report["findings"]["missing"] == ["partners of 1 images: b", "partners of 1 masks: c_mask"]
    save(tmp_path / "set" / "a_seg.nii.gz", TRUTH)
    with pytest.raises(InputError, match=r"a_seg.nii.gz: expected one mask of a.nii.gz, found a_mask.nii.gz"):
        prepared(tmp_path / "set")


FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
FLIP[:2, 3] = 11
MASKS = {
    "255": (TRUTH * np.uint8(255), AFFINE),
    "0.9999": ((TRUTH * 0.9999).astype(np.float32), AFFINE),
    "254.97": ((TRUTH * 254.97).astype(np.float32), AFFINE),
    "another order": (np.ascontiguousarray(TRUTH[::-1, ::-1]), AFFINE @ FLIP),
    "axes exchanged": (np.ascontiguousarray(TRUTH.transpose(2, 0, 1)), AFFINE[:, [2, 0, 1, 3]]),
    "a fourth axis": (TRUTH[..., None], AFFINE),
    "a little off": (
        TRUTH,
        AFFINE + np.eye(4)[:, [3, 0, 1, 2]] * 0.0 + np.outer([0.1, 0, 0, 0], [0, 0, 0, 1]),
    ),
}


@pytest.mark.parametrize(("mask", "affine"), MASKS.values(), ids=MASKS)
def test_masks_of_any_form_become_one(tmp_path: Path, mask: np.ndarray, affine: np.ndarray) -> None:
    save(tmp_path / "set/images/a.nii.gz", head(0))
    save(tmp_path / "set/labels/a.nii.gz", mask, affine)
    entries, report = prepared(tmp_path / "set")
    label = nib.load(entries[0]["label"])
    np.testing.assert_array_equal(np.asarray(label.dataobj).reshape(TRUTH.shape), TRUTH)
    np.testing.assert_allclose(label.affine, AFFINE, atol=0.11)
    assert report["table"][-1][-1] == 0.2
    assert "mismatch" not in report["findings"]


def test_another_grid_is_refused_taken_or_moved(tmp_path: Path) -> None:
    """A mask one voxel off, and one of half the slices at double distance."""
    save(tmp_path / "set/images/a.nii.gz", head(0))
    off = AFFINE.copy()
    off[0, 3] = -2.0  # one voxel on along the first axis
    save(tmp_path / "set/labels/a.nii.gz", TRUTH, off)
    with pytest.raises(
        InputError, match=r"up to 2 mm \(--on-mismatch warn takes it voxel by voxel, resample"
    ):
        prepared(tmp_path / "set")
    for way, expected in (("warn", TRUTH), ("resample", np.roll(TRUTH, 1, 0))):
        entries, report = prepared(tmp_path / "set", on_mismatch=way)
        label = nib.load(entries[0]["label"])
        np.testing.assert_array_equal(np.asarray(label.dataobj), expected)
        np.testing.assert_allclose(label.affine, AFFINE)
        assert len(report["findings"]["mismatch"]) == 1
    thick = AFFINE.copy()
    thick[2, 2], thick[2, 3] = 10.0, 2.5
    save(tmp_path / "set/labels/a.nii.gz", np.ascontiguousarray(TRUTH[:, :, ::2]), thick)
    with pytest.raises(InputError, match=r"found \(12, 12, 3\) \(--on-mismatch resample moves"):
        prepared(tmp_path / "set", on_mismatch="warn")
    entries, report = prepared(tmp_path / "set", on_mismatch="resample")
    np.testing.assert_array_equal(np.asarray(nib.load(entries[0]["label"]).dataobj), TRUTH)
    assert "0.24 mL became 0.24 mL" in report["findings"]["mismatch"][0]
    far = AFFINE.copy()
    far[0, 3] = 500.0
    save(tmp_path / "set/labels/a.nii.gz", TRUTH, far)
    with pytest.raises(InputError, match="nothing of the mask lies within the image"):
        prepared(tmp_path / "set", on_mismatch="resample")
    with pytest.raises(InputError, match="on_mismatch: expected one of error, warn, resample, found 'guess'"):
        prepared(tmp_path / "set", on_mismatch="guess")


def test_pictures_of_0_and_1(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    mask = np.zeros((8, 8), np.uint8)
    mask[2:4] = 1
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "set/a.png")
    Image.fromarray(mask).save(tmp_path / "set/a_mask.png")
    entries, _ = prepared(tmp_path / "set", window=(40, 120), by="slice")
    assert entries[0]["lesion_px"] == 16
    np.testing.assert_array_equal(np.asarray(Image.open(entries[0]["label"])), mask * 255)


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A hemorrhage of 12 voxels as 1, edema of 6 as 2."""
    both = TRUTH.copy()
    both[4:7, 6, 2:4] = 2
    save(tmp_path / "set/a.nii.gz", head(0))
    save(tmp_path / "set/masks/a.nii.gz", both)
    return tmp_path / "set"


def listed(root: Path, labels: Any) -> None:
    entry = {"image": "a.nii.gz", "label": "masks/a.nii.gz"}
    (root / "dataset.json").write_text(json.dumps({"labels": labels, "training": [entry]}))


@pytest.mark.parametrize("labels", [{"0": "background", "1": "ICH", "2": "PHE"}, {"ICH": 1, "edema": 2}])
def test_edema_is_no_hemorrhage(named: Path, labels: dict) -> None:
    listed(named, labels)
    entries, report = prepared(named, dataset="decathlon")
    np.testing.assert_array_equal(np.asarray(nib.load(entries[0]["label"]).dataobj), TRUTH)
    assert entries[0]["volume_ml"] == {"any": 0.24}
    assert report["findings"]["note"] == ["mask values by name: 1 hemorrhage, 2 background"]


def test_types_by_name_and_names_that_no_one_knows(named: Path) -> None:
    listed(named, {"background": 0, "SAH": 2, "Subdural hematoma": 1})
    entries, _ = prepared(named, dataset="decathlon", types="sah")
    assert entries[0]["types"] == "sah+sdh"
    assert np.asarray(nib.load(entries[0]["label"]).dataobj).sum() == 6
    classes = np.asarray(nib.load(entries[0]["classes"]).dataobj)
    assert ((classes == 5).sum(), (classes == 4).sum()) == (12, 6)
    listed(named, {"background": 0, "core": 1, "halo": 2})
    with pytest.raises(InputError, match=r"dataset.json: expected names of .* found 'core' for 1"):
        prepared(named, dataset="decathlon")
    entries, _ = prepared(named, dataset="decathlon", labels="core=iph,halo=background")
    assert entries[0]["types"] == "iph"
    np.testing.assert_array_equal(np.asarray(nib.load(entries[0]["label"]).dataobj), TRUTH)
    listed(named, {"background": 0, "ICH": 1})
    with pytest.raises(InputError, match=r"a.nii.gz: expected mask values \[0, 1\], found \[0, 1, 2\]"):
        prepared(named, dataset="decathlon")


def test_values_of_a_folder_by_the_users_word(named: Path) -> None:
    save(named / "b.nii.gz", head(1))
    (named / "masks/a.nii.gz").rename(named / "a_mask.nii.gz")
    save(named / "b_mask.nii.gz", TRUTH * np.uint8(2))
    entries, _ = prepared(named, labels={"1": "hemorrhage", "2": "background"})
    assert [item["volume_ml"]["any"] for item in entries] == [0.24, 0.0]
    for wrong, message in (("1", "expected NAME=TYPE"), ("1=tumor", "found 'tumor' for 1")):
        with pytest.raises(InputError, match=message):
            prepared(named, labels=wrong)


def test_masks_and_images_of_3d_slicer(tmp_path: Path) -> None:
    """NRRD in LPS beside a NIfTI image; and a MetaImage with its mask."""
    itk = pytest.importorskip("itk")
    for seed, (name, image_end, mask_end) in enumerate((("a", "nii.gz", "nrrd"), ("b", "mha", "nrrd"))):
        save(tmp_path / "nifti" / f"{name}.nii.gz", head(seed), AFFINE @ FLIP)
        save(tmp_path / "nifti" / f"{name}_mask.nii.gz", TRUTH)
        (tmp_path / "set").mkdir(exist_ok=True)
        for stem, end, kind in ((name, image_end, itk.SS), (f"{name}_mask", mask_end, itk.UC)):
            read = itk.imread(str(tmp_path / "nifti" / f"{stem}.nii.gz"), kind)
            itk.imwrite(read, str(tmp_path / "set" / f"{stem}.{end}"))
    entries, report = prepared(tmp_path / "set")
    assert [Path(item["image"]).name for item in entries] == ["a.nii.gz", "b.mha"]
    for item in entries:
        np.testing.assert_array_equal(np.asarray(nib.load(item["label"]).dataobj), TRUTH[::-1, ::-1])
    assert report["table"][-1][-1] == 0.5


def test_names_that_would_be_one_file(tmp_path: Path) -> None:
    for seed, name in enumerate(("Scan", "scan")):
        save(tmp_path / "set" / f"{name}.nii.gz", head(seed))
        save(tmp_path / "set" / f"{name}_mask.nii.gz", TRUTH)
    with pytest.raises(InputError, match="expected a name of its own, found scan beside Scan"):
        prepared(tmp_path / "set")
