"""The relative component filter, on components counted by hand."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from tests.bundles.components_by_hand import components


@pytest.fixture(scope="module")
def filters(bundle):
    from scripts import components

    return components


@pytest.mark.parametrize(
    ("fraction", "kept"),
    [(0, [200, 20, 19, 1]), (0.005, [200, 20, 19, 1]), (0.09, [200, 20, 19]), (0.1, [200, 20]), (1, [200])],
)
def test_hand_counted(filters, device, fraction, kept):
    label = components().to(device)
    result = filters.keep_large_components(label, fraction)
    assert int(result.sum()) == sum(kept)
    assert result.dtype == label.dtype
    assert result.device == label.device
    assert torch.equal(label, components().to(device))  # the input is left alone


def test_corners_connect_and_classes_are_one_component(filters):
    label = torch.zeros(1, 12, 12, 12)
    label[0, 0:5, 0:5, 0:5] = 2  # 125
    label[0, 5, 5, 5] = 1  # touches a corner of it
    label[0, 9, 9, 9] = 1  # alone
    result = filters.keep_large_components(label, 0.1)
    assert result[0, 5, 5, 5] == 1
    assert result[0, 9, 9, 9] == 0
    assert (result == 2).sum() == 125


def test_two_dimensions(filters):
    label = torch.zeros(1, 20, 20)
    label[0, 0:5, 0:5] = 1
    label[0, 5, 5] = 1  # over the corner
    label[0, 10, 10] = 1
    assert filters.keep_large_components(label, 0.1).sum() == 26


def test_empty_stays_empty(filters):
    assert filters.keep_large_components(torch.zeros(1, 8, 8, 8), 0.1).sum() == 0


def test_dictionary_keeps_geometry_and_zero_is_off(filters):
    affine = torch.diag(torch.tensor([0.5, 0.5, 5.0, 1.0], dtype=torch.float64))
    data = {"pred": MetaTensor(components(), affine=affine), "name": "x"}
    result = filters.KeepLargeComponentsd("pred", 0.1)(data)
    assert isinstance(result["pred"], MetaTensor)
    assert torch.equal(result["pred"].affine, affine)
    assert result["pred"].sum() == 220
    assert data["pred"].sum() == 240
    assert filters.KeepLargeComponentsd("pred", 0.0)(data)["pred"].sum() == 240


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_wrong_fraction(filters, fraction):
    with pytest.raises(ValueError, match="fraction must be from 0 to 1"):
        filters.keep_large_components(components(), fraction)


def test_wrong_shape(filters):
    with pytest.raises(ValueError, match=r"got \(2, 8, 8, 8\)"):
        filters.keep_large_components(torch.zeros(2, 8, 8, 8))
