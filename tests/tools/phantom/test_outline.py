"""What a reader would outline of a label: neither what bone hides nor what looks like the brain around it."""

import numpy as np
import pytest
import torch

from tools.phantom.outline import outlined

SHAPE = (1, 64, 64, 3)


def head(brain_hu=33.0):
    """Label, image and brain mask of a head that is all brain."""
    return (
        torch.zeros(SHAPE, dtype=torch.uint8),
        torch.full(SHAPE, brain_hu),
        torch.ones(SHAPE, dtype=torch.uint8),
    )


def test_voxels_as_dense_as_bone_are_left_out():
    label, image, brain = head()
    label[0, 10:20, 10:20, 1], image[0, 10:20, 10:20, 1] = 3, 70.0
    image[0, 10:20, 10, 1] = 400.0
    kept = outlined(label, image, brain)
    assert not kept[0, 10:20, 10, 1].any()
    assert (kept[0, 10:20, 11:20, 1] == 3).all()
    assert kept.sum() == 90 * 3
    assert label.sum() == 100 * 3  # what was given stays as it was


@pytest.mark.parametrize(
    ("side", "difference", "seen"),
    [
        (6, 9, False),
        (6, 11, True),
        (12, 4, False),
        (12, 6, True),
        (6, -11, True),
        (2, 27, False),
        (2, 33, True),
    ],
)
def test_difference_times_root_of_area_decides(side, difference, seen):
    """A square of `side` pixels of 0.5 mm has a root of side / 2 mm, and 30 HU mm are needed."""
    label, image, brain = head()
    square = (0, slice(20, 20 + side), slice(30, 30 + side), 1)
    label[square], image[square] = 1, 33.0 + difference
    assert bool(outlined(label, image, brain, (0.5, 0.5)).any()) is seen
    assert outlined(label, image, brain, (0.5, 0.5), faintest=0).any()


def test_the_brain_nearby_is_what_blood_stands_out_from():
    """Two equal pieces of 40 HU, one in brain of 28 HU, one in brain of 36 HU: 60 and 20 HU mm."""
    label, image, brain = head(28.0)
    image[0, 32:] = 36.0
    for start in (6, 52):
        piece = (0, slice(start, start + 5), slice(30, 35), 2)
        label[piece], image[piece] = 2, 40.0
    kept = outlined(label, image, brain)
    assert (kept[0, 6:11, 30:35, 2] == 2).all()
    assert kept.sum() == 25 * 2


def test_pieces_of_other_types_and_slices_count_alone():
    """25 pixels that differ by 10 HU can be seen; the five rows of five types, and nine pixels, cannot."""
    label, image, brain = head()
    whole, rows = (0, slice(8, 13), slice(8, 13), 0), (0, slice(40, 45), slice(40, 45), 0)
    label[whole], image[whole] = 4, 43.0
    label[rows], image[rows] = torch.arange(1, 6, dtype=torch.uint8)[:, None], 43.0
    for z in range(3):
        label[0, 55:58, 10:12, z], image[0, 55:58, 10:12, z] = 5, 43.0
    expected = torch.zeros_like(label)
    expected[whole] = 4
    assert torch.equal(outlined(label, image, brain), expected)


def test_without_brain_blood_is_compared_with_brain_of_33_hu():
    label, image, brain = head(-1000.0)
    brain[:] = 0
    for start, value in ((10, 60.0), (40, 34.0)):
        label[0, start : start + 6, 10:16, 1], image[0, start : start + 6, 10:16, 1] = 1, value
    kept = outlined(label, image, brain)
    assert np.unique(np.nonzero(kept.numpy()[0, :, :, 1])[0]).tolist() == [10, 11, 12, 13, 14, 15]


def test_a_large_piece_has_to_differ_too():
    label, image, brain = head()
    label[0, 10:50, 10:50, 1], image[0, 10:50, 10:50, 1] = 1, 36.0  # 3 HU over 40 mm
    assert not outlined(label, image, brain).any()
    image[0, 10:50, 10:50, 1] = 38.0
    assert outlined(label, image, brain).sum() == 1600


@pytest.mark.parametrize(("thick", "seen"), [(2, False), (8, True)])
def test_brightness_beside_bone_tells_nothing(thick, seen):
    """A layer beside bone, as bright as its blur; the thick one goes on where bone does not reach."""
    label, image, brain = head()
    image[0, :10] = 900.0
    image[0, 10:12] = 90.0
    label[0, 10 : 10 + thick, 20:50, 1], image[0, 12 : 10 + thick, 20:50, 1] = 5, 50.0
    kept = outlined(label, image, brain)
    assert int((kept > 0).sum()) == (thick * 30 if seen else 0)
