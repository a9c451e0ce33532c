"""Deformations: known transforms recovered, nothing folds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from tools.phantom.anatomy.warp import compose, gaussian, identity, integrate, jacobian, pull, sample, take
from tools.phantom.fields import band_noise


def test_gaussian_is_that_of_scipy():
    volume = torch.rand((20, 24, 18), generator=torch.Generator().manual_seed(1))
    expected = ndimage.gaussian_filter(volume.numpy(), (0.8, 1.2, 0.8), mode="nearest", truncate=4)
    assert np.abs(gaussian(volume, (0.8, 1.2, 0.8)).numpy() - expected).max() < 0.01


def test_sample_is_linear_interpolation():
    volume = torch.rand((9, 8, 7), generator=torch.Generator().manual_seed(2))
    index = torch.rand((50, 3), generator=torch.Generator().manual_seed(3)) * torch.tensor([8.0, 7.0, 6.0])
    expected = ndimage.map_coordinates(volume.numpy(), index.T.numpy(), order=1)
    assert np.allclose(sample(volume, index).numpy(), expected, atol=1e-5)
    assert sample(volume, torch.tensor([[40.0, 2, 2]]), outside=-5.0).tolist() == [-5]
    nearest = take(volume, index)
    assert torch.equal(nearest, volume[tuple(index.round().long().unbind(-1))])
    assert take(volume, torch.tensor([[40.0, 2, 2]]), 7).tolist() == [7]


def test_pull_by_whole_voxels_is_a_shift():
    volume = torch.arange(6 * 5 * 4).view(6, 5, 4)
    u = torch.zeros((3, 6, 5, 4))
    u[0] = 2
    assert torch.equal(pull(volume, u, "nearest")[:4], volume[2:])
    assert torch.equal(pull(volume.float(), u)[:4], volume[2:].float())


def test_integrating_a_linear_velocity_gives_its_exponential():
    # dp/dt = a (p - c) leads to c + exp(a) (p - c).
    n, spacing, a = 25, 4.0, -0.4
    center = (n - 1) * spacing / 2
    offset = identity((n, n, n)).movedim(-1, 0) * spacing - center
    found = integrate(a * offset, spacing, steps=7)
    assert torch.allclose(found, (np.exp(a) - 1) * offset, atol=0.25)
    assert jacobian(found, spacing)[3:-3, 3:-3, 3:-3].mean() == pytest.approx(np.exp(3 * a), rel=0.02)


@pytest.mark.parametrize("size", [1.5, 5.0])
def test_nothing_folds_and_the_inverse_brings_back(size):
    velocity = size * band_noise((60.0, 60.0, 60.0), 40, 78.0, torch.Generator().manual_seed(4))
    there, back = integrate(velocity, 4.0, 7), integrate(-velocity, 4.0, 7)
    assert jacobian(there, 4.0).min() > 0
    inner = (slice(None), *(slice(10, 30),) * 3)
    assert compose(there, back, 4.0)[inner].abs().max() < 0.2 * size
    if size > 3:  # the same field, added instead of integrated, folds
        assert jacobian(velocity, 4.0).min() < 0
