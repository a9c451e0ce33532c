"""One rule for grids: hand-computed moves, reordered voxels, rounded values."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from headct.datasets.masks import resampled
from tools.volumes.grid import grid_fault, reordered, reordered_grid, whole_values

SHAPE = (101, 101, 31)
AFFINE = np.diag([0.5, 0.5, 5.0, 1.0])


def moved(**cells: float) -> np.ndarray:
    affine = AFFINE.copy()
    for name, value in cells.items():
        affine[int(name[1]), int(name[2])] += value
    return affine


@pytest.mark.parametrize(
    ("affine", "same"),
    [
        (moved(), True),
        (moved(a03=0.049), True),  # less than a tenth of 0.5 mm
        (moved(a03=0.051), False),
        (moved(a00=0.0004), True),  # 0.04 mm at the last of 101 voxels
        (moved(a00=0.001), False),  # 0.1 mm there
        (moved(a02=0.001), True),  # 0.03 mm on the last of 31 slices
    ],
)
def test_a_tenth_of_a_voxel(affine: np.ndarray, same: bool) -> None:
    assert (not grid_fault(SHAPE, AFFINE, SHAPE, affine)) == same


def test_a_fault_says_how_far() -> None:
    assert "moves voxels by up to 3 mm" in grid_fault(SHAPE, AFFINE, SHAPE, moved(a23=3.0))
    assert grid_fault(SHAPE, AFFINE, (101, 101, 30), AFFINE, of="ct.nii").startswith(
        "expected the shape (101, 101, 31) of ct.nii, found (101, 101, 30)"
    )


def test_reordered_is_what_nibabel_reads(tmp_path) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(0, 9, (4, 5, 6)).astype(np.uint8)
    image = nib.Nifti1Image(array, AFFINE)
    for codes in ("LPS", "PIR", "SAL"):
        ornt = nib.orientations.axcodes2ornt(codes)
        other = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(AFFINE), ornt))
        back, affine = reordered(np.asarray(other.dataobj), other.affine, AFFINE)
        np.testing.assert_array_equal(back, array)
        np.testing.assert_allclose(affine, AFFINE)
        assert reordered_grid(other.shape, other.affine, AFFINE)[0] == array.shape


def test_resampled_takes_the_nearest_voxel() -> None:
    array = np.zeros((4, 4, 4), np.uint8)
    array[1, 2, 3] = 5
    shifted = moved(a03=0.5)  # one voxel to the right
    found = resampled(array, AFFINE, (4, 4, 4), shifted)
    assert found[0, 2, 3] == 5
    assert found.sum() == 5


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.9999], [0, 1]),
        ([0, 255], [0, 1]),
        ([0, 254.97], [0, 1]),
        ([0, 5, 255], [0, 5, 255]),
        ([-0.001, 2.001], [0, 2]),
        ([0.0, 0.0], [0, 0]),
    ],
)
def test_whole_values(values: list[float], expected: list[int]) -> None:
    found, fault = whole_values(np.array(values, np.float32))
    assert not fault
    assert found.tolist() == expected


@pytest.mark.parametrize("values", [[0, 0.5], [0, -1], [0, 256], [0, np.nan], [0, np.inf]])
def test_no_class_values(values: list[float]) -> None:
    assert whole_values(np.array(values))[1].startswith("expected whole class values from 0 to 255, found")
