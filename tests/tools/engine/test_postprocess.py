"""The relative component filter, on components counted by hand; closing and opening against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from tools.engine.postprocess import (
    CloseOpend,
    KeepLargeComponentsd,
    LabelFromProbabilitiesd,
    close_open,
    keep_large_components,
    label_from_probabilities,
)


def components() -> torch.Tensor:
    """Components of 200, 20, 19 and 1 voxels."""
    label = torch.zeros(1, 30, 30, 12, dtype=torch.uint8)
    label[0, 0:10, 0:10, 0:2] = 1  # 200
    label[0, 15:20, 0:4, 5] = 1  # 20: exactly 10 %
    label[0, 25, 0:19, 8] = 1  # 19
    label[0, 29, 29, 11] = 1  # 1
    return label


@pytest.mark.parametrize(
    ("fraction", "kept"),
    [(0, [200, 20, 19, 1]), (0.005, [200, 20, 19, 1]), (0.09, [200, 20, 19]), (0.1, [200, 20]), (1, [200])],
)
def test_hand_counted(device, fraction, kept):
    label = components().to(device)
    result = keep_large_components(label, fraction)
    assert int(result.sum()) == sum(kept)
    assert result.dtype == label.dtype
    assert result.device == label.device
    assert torch.equal(label, components().to(device))  # the input is left alone


def test_corners_connect_and_classes_are_one_component():
    label = torch.zeros(1, 12, 12, 12)
    label[0, 0:5, 0:5, 0:5] = 2  # 125
    label[0, 5, 5, 5] = 1  # touches a corner of it
    label[0, 9, 9, 9] = 1  # alone
    result = keep_large_components(label, 0.1)
    assert result[0, 5, 5, 5] == 1
    assert result[0, 9, 9, 9] == 0
    assert (result == 2).sum() == 125


def test_two_dimensions():
    label = torch.zeros(1, 20, 20)
    label[0, 0:5, 0:5] = 1
    label[0, 5, 5] = 1  # over the corner
    label[0, 10, 10] = 1
    assert keep_large_components(label, 0.1).sum() == 26


def test_empty_stays_empty():
    assert keep_large_components(torch.zeros(1, 8, 8, 8), 0.1).sum() == 0


def test_dictionary_keeps_geometry_and_zero_is_off():
    affine = torch.diag(torch.tensor([0.5, 0.5, 5.0, 1.0], dtype=torch.float64))
    data = {"pred": MetaTensor(components(), affine=affine), "name": "x"}
    result = KeepLargeComponentsd("pred", 0.1)(data)
    assert isinstance(result["pred"], MetaTensor)
    assert torch.equal(result["pred"].affine, affine)
    assert result["pred"].sum() == 220
    assert data["pred"].sum() == 240
    assert KeepLargeComponentsd("pred", 0.0)(data)["pred"].sum() == 240


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_wrong_fraction(fraction):
    with pytest.raises(ValueError, match="fraction must be from 0 to 1"):
        keep_large_components(components(), fraction)


def test_wrong_shape():
    with pytest.raises(ValueError, match=r"got \(2, 8, 8, 8\)"):
        keep_large_components(torch.zeros(2, 8, 8, 8))


def scipy_close_open(plane: np.ndarray, size: int) -> np.ndarray:
    """The same on one slice; beyond its border, scipy is told to take nothing away and add nothing."""
    square = np.ones((size, size), bool)
    grown = ndimage.binary_dilation(plane, square)
    closed = ndimage.binary_erosion(grown, square, border_value=1)
    return ndimage.binary_dilation(ndimage.binary_erosion(closed, square, border_value=1), square)


@pytest.mark.parametrize("size", [3, 5])
def test_close_open_against_scipy(device, size):
    noise = torch.rand(1, 40, 31, 4, generator=torch.Generator().manual_seed(0)).to(device)
    noise = noise + torch.nn.functional.avg_pool2d(noise[0].movedim(-1, 0), 9, 1, 4).movedim(0, -1)
    label = (noise > 1.2).to(torch.uint8)
    result = close_open(label, size)
    assert (result != label).any()
    assert result.dtype == torch.uint8
    for k in range(4):
        expected = scipy_close_open(label[0, :, :, k].cpu().numpy() > 0, size)
        assert np.array_equal(result[0, :, :, k].cpu().numpy() > 0, expected)
        assert torch.equal(close_open(label[..., k], size), result[..., k])


def test_close_open_by_hand():
    label = torch.zeros(1, 20, 20)
    label[0, 0:9, 0:9] = 1  # at the border
    label[0, 4, 4] = 0  # a gap
    label[0, 9:14, 5] = 1  # a spike
    label[0, 16, 16] = 1  # a speck
    expected = torch.zeros(1, 20, 20)
    expected[0, 0:9, 0:9] = 1
    assert torch.equal(close_open(label), expected)


def test_close_open_keeps_geometry_and_one_is_off():
    affine = torch.diag(torch.tensor([0.5, 0.5, 5.0, 1.0], dtype=torch.float64))
    data = {"pred": MetaTensor(components(), affine=affine)}
    result = CloseOpend("pred", 3)(data)["pred"]
    assert isinstance(result, MetaTensor)
    assert torch.equal(result.affine, affine)
    assert result.sum() == 200 + 20  # the line and the single voxel are gone
    assert CloseOpend("pred", 1)(data)["pred"].sum() == 240


def test_close_open_refuses():
    with pytest.raises(ValueError, match="size must be odd and at least 1, got 4"):
        close_open(components(), 4)
    with pytest.raises(ValueError, match=r"got \(2, 8, 8\)"):
        close_open(torch.zeros(2, 8, 8))


def test_blood_by_its_probability_whatever_its_type():
    """No type reaches one half at the second place, yet blood does; the type is the most probable one."""
    probabilities = torch.tensor([[0.6, 0.45, 0.1], [0.3, 0.25, 0.1], [0.1, 0.30, 0.8]])[:, None]
    assert label_from_probabilities(probabilities).dtype == torch.uint8  # what ITK can write
    assert label_from_probabilities(probabilities).tolist() == [[[0, 2, 2]]]
    assert label_from_probabilities(probabilities, 0.35).tolist() == [[[1, 2, 2]]]
    assert label_from_probabilities(probabilities, 0.6).tolist() == [[[0, 0, 2]]]
    single = torch.tensor([[[0.2, 0.5, 0.9]]])
    found = LabelFromProbabilitiesd("pred", 0.5)({"pred": single})["pred"]
    assert found.dtype == torch.uint8
    assert found.tolist() == [[[0, 1, 1]]]
