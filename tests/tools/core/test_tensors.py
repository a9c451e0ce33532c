"""Means over blocks as PyTorch's pooling of a whole volume has them, convolution along an axis as SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn.functional import avg_pool3d

from tools.core.tensors import block_means, convolve_axis


@pytest.mark.parametrize("factor", [(1, 1, 1), (2, 3, 4), (3, 2, 7), (2, 2, 40)])
@pytest.mark.parametrize("depth", [40, 75, 101])
def test_block_means(factor, depth):
    generator = torch.Generator().manual_seed(0)
    for volume in (
        torch.rand(9, 7, depth, generator=generator),
        torch.rand(depth, 7, 9, generator=generator).permute(2, 1, 0),
    ):
        full = avg_pool3d(volume[None, None].contiguous(), factor)[0, 0]
        rest = avg_pool3d(volume[None, None].contiguous(), factor, ceil_mode=True, count_include_pad=False)[
            0, 0
        ]
        assert torch.allclose(block_means(volume, factor), full)
        assert torch.allclose(block_means(volume, factor, rest=True), rest)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 3, 7, 13])  # the last reaches beyond both borders of 5 voxels
def test_convolution_along_an_axis_is_scipys(axis, count):
    generator = torch.Generator().manual_seed(count)
    volume = torch.rand(9, 5, 6, generator=generator, dtype=torch.float64)
    weights = torch.rand(count, generator=generator, dtype=torch.float64).tolist()
    kept = volume.clone()
    expected = ndimage.correlate1d(volume.numpy(), weights, axis, mode="nearest")
    assert np.allclose(convolve_axis(volume, weights, axis).numpy(), expected, rtol=1e-12)
    assert torch.equal(volume, kept)
