"""The mark by which an image alone tells its foreground."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_foreground_is_the_mask_again(bundle, dtype):
    from scripts.background import foreground, mark_foreground

    mask = torch.zeros(1, 6, 5, 4)
    mask[:, 1:5, 1:4, 1:3] = 1
    image = torch.rand(2, 6, 5, 4) * mask
    image[:, 2, 2, 2] = 0  # in both channels: the first is marked, the mirrored one stays as it is
    marked = mark_foreground(MetaTensor(image.to(dtype)), mask)
    assert isinstance(marked, MetaTensor)
    assert torch.equal(foreground(marked).as_tensor(), mask[0] > 0)
    assert torch.equal(marked[1].as_tensor(), image[1].to(dtype))
    assert (marked.as_tensor().float() - image.to(dtype).float()).abs().max() < 2e-6
