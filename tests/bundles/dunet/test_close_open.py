"""Closing and opening against scipy, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from tests.bundles.components_by_hand import components


@pytest.fixture(scope="module")
def morphology(bundle):
    from scripts import close_open

    return close_open


def scipy_close_open(plane: np.ndarray, size: int) -> np.ndarray:
    """The same on one slice; beyond its border, scipy is told to take nothing away and add nothing."""
    square = np.ones((size, size), bool)
    grown = ndimage.binary_dilation(plane, square)
    closed = ndimage.binary_erosion(grown, square, border_value=1)
    return ndimage.binary_dilation(ndimage.binary_erosion(closed, square, border_value=1), square)


@pytest.mark.parametrize("size", [3, 5])
def test_close_open_against_scipy(morphology, device, size):
    noise = torch.rand(1, 40, 31, 4, generator=torch.Generator().manual_seed(0)).to(device)
    noise = noise + torch.nn.functional.avg_pool2d(noise[0].movedim(-1, 0), 9, 1, 4).movedim(0, -1)
    label = (noise > 1.2).to(torch.uint8)
    result = morphology.close_open(label, size)
    assert (result != label).any()
    assert result.dtype == torch.uint8
    for k in range(4):
        expected = scipy_close_open(label[0, :, :, k].cpu().numpy() > 0, size)
        assert np.array_equal(result[0, :, :, k].cpu().numpy() > 0, expected)
        assert torch.equal(morphology.close_open(label[..., k], size), result[..., k])


def test_close_open_by_hand(morphology):
    label = torch.zeros(1, 20, 20)
    label[0, 0:9, 0:9] = 1  # at the border
    label[0, 4, 4] = 0  # a gap
    label[0, 9:14, 5] = 1  # a spike
    label[0, 16, 16] = 1  # a speck
    expected = torch.zeros(1, 20, 20)
    expected[0, 0:9, 0:9] = 1
    assert torch.equal(morphology.close_open(label), expected)


def test_types_stay_what_they_are(morphology):
    """A gap in type 1 beside type 5, and one in type 5 beside type 1; a speck of type 3 goes."""
    label = torch.zeros(1, 12, 12, dtype=torch.uint8)
    label[0, 2:8, 0:5], label[0, 2:8, 5:10] = 1, 5
    label[0, 10, 11] = 3
    expected = label.clone()
    expected[0, 10, 11] = 0
    label[0, 4, 4] = label[0, 4, 6] = label[0, 4, 5] = 0
    expected[0, 4, 5] = 5
    assert torch.equal(morphology.close_open(label), expected)


def test_close_open_keeps_geometry_and_one_is_off(morphology):
    affine = torch.diag(torch.tensor([0.5, 0.5, 5.0, 1.0], dtype=torch.float64))
    data = {"pred": MetaTensor(components(), affine=affine)}
    result = morphology.CloseOpend("pred", 3)(data)["pred"]
    assert isinstance(result, MetaTensor)
    assert torch.equal(result.affine, affine)
    assert result.sum() == 200 + 20  # the line and the single voxel are gone
    assert morphology.CloseOpend("pred", 1)(data)["pred"].sum() == 240


def test_close_open_refuses(morphology):
    with pytest.raises(ValueError, match="size must be odd and at least 1, got 4"):
        morphology.close_open(components(), 4)
    with pytest.raises(ValueError, match=r"got \(2, 8, 8\)"):
        morphology.close_open(torch.zeros(2, 8, 8))
