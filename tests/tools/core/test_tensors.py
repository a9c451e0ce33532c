"""Means over blocks, as PyTorch's pooling of a whole volume has them."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool3d

from tools.core.tensors import block_means


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
