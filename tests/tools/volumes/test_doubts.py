"""What is said of a scan where results of it are written, in every bundle."""

from __future__ import annotations

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.data import MetaTensor

from tools.core.files import nifti_image
from tools.phantom import HeadPhantom
from tools.volumes.doubts import form_doubts, scan_doubts
from tools.volumes.read import LoadVolumed, read_volume

AFFINE = np.diag([-2.6, 2.6, 7.0, 1.0])  # x runs to the left, as on most scanners
AFFINE[:3, 3] = [101.3, -98.2, -70.4]


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    """(X, Y, Z) HU, x to the left."""
    case = HeadPhantom(seed=1, kind="normal", shape=(80, 80, 22), spacing=(2.6, 2.6, 7.0)).render()
    return np.ascontiguousarray(case.image[0].numpy()[::-1])


def doubts(array: np.ndarray, affine: np.ndarray = AFFINE, stated: bool = True) -> str:
    return " ".join(scan_doubts(MetaTensor(array[None].copy(), affine=affine.copy()), stated))


def test_a_whole_head_has_none(head):
    assert doubts(head, stated=False) == ""


def test_each_doubt(head):
    middle = head[:, :, 8:14]
    assert "Only a slab of 4" in doubts(middle)
    assert "top of the brain" in doubts(head[:, :, :14])
    assert "cuts the brain on the right" in doubts(head[25:])
    assert "cuts the brain on the left" in doubts(head[:55])
    lifted = head.copy()
    lifted[:, :, 9] += 1024
    assert "1 of 22 slices at +1024 HU beside the others (the first is number 10)" in doubts(lifted)
    assert "does not lie as the file says" in doubts(head[:, :, ::-1])
    assert "default one" in doubts(head, np.diag([2.6, 2.6, 7, 1]), stated=False)
    assert "default one" not in doubts(head, np.diag([2.6, 2.6, 7, 1]), stated=True)
    air = np.full_like(head, -1000)
    air[20:30, 20:30] = 1000
    assert "No brain was found" in doubts(air)


@pytest.mark.parametrize("value", [-1000, 0, 40])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_blank_and_lifted_slices_are_found_whichever_axis_they_follow(axis, value, head):
    order = np.insert([0, 1], axis, 2)
    affine = AFFINE[:, [*order, 3]]
    blank, lifted = head.copy(), head.copy()
    blank[:, :, [9, 11]] = value
    lifted[:, :, 9] += 1024
    found = doubts(blank.transpose(order), affine)
    assert "2 of 22 slices are blank between others (the first is number 10)" in found
    assert "do not go on" not in found
    assert "1 of 22 slices at +1024" in doubts(lifted.transpose(order), affine)
    assert "blank" not in doubts(np.concatenate([head, np.full_like(head[..., :3], value)], 2))


@pytest.mark.parametrize("writes", [True, False])
def test_they_are_logged_where_results_are_written(head, writes, tmp_path, caplog):
    path = tmp_path / "slab.nii.gz"
    nib.save(nib.Nifti1Image(head[:, :, 8:14].astype(np.int16), AFFINE), path)
    with caplog.at_level(logging.WARNING):
        LoadVolumed("image", converted_dir=tmp_path / "out" if writes else None)({"image": str(path)})
    lines = [record.getMessage() for record in caplog.records]
    said = ["Only a slab", "The top of the brain", "The base of the brain"] if writes else []
    assert [line[: len(f"{path}: {text}")] for line, text in zip(lines, said, strict=True)] == [
        f"{path}: {text}" for text in said
    ]


def test_a_qform_that_lies_elsewhere_than_the_sform(tmp_path):
    """Not where it lacks the shear of a tilted gantry alone, or is not stated."""
    sheared = AFFINE.copy()
    sheared[1, 2] = 2.0
    image = nifti_image(np.zeros((80, 80, 22), np.int16), sheared)
    for turn, code, said in [(1, 1, False), (-1, 1, True), (-1, 0, False)]:
        qform = nifti_image(np.zeros((80, 80, 22), np.int16), sheared).get_qform()
        image.set_qform(np.diag([turn, 1, 1, 1]) @ qform, code=code)
        nib.save(image, tmp_path / "a.nii.gz")
        assert ["its sform was taken" in text for text in form_doubts(tmp_path / "a.nii.gz")] == [True] * said


@pytest.mark.parametrize("series", ["ge_head_ct_dicom", "toshiba_head_ct_dicom/ax_soft"])
def test_real_heads_are_whole_until_they_are_cut(series: str, real_data: Path):
    volume = read_volume(real_data / series)
    assert scan_doubts(volume) == []
    assert any("cuts the brain on the left" in text for text in scan_doubts(volume[:, 170:]))
    assert any("cuts the brain in front" in text for text in scan_doubts(volume[:, :, :-190]))
