"""Resizing slices by matrices gives what MONAI's own resizing gives, and is inverted by it."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Resized

from tools.slices.resize import ResizeSlicesd


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 90, 80, 5), (32, 40)),  # smaller in both directions
        ((2, 70, 20, 3), (32, 40)),  # smaller in one, larger in the other
        ((1, 20, 24, 1), (64, 48)),
        ((3, 32, 40, 2), (32, 40)),  # as it is
    ],
)
def test_as_monai_and_back(shape, size):
    affine = torch.diag(torch.tensor([0.5, 0.7, 5.0, 1.0], dtype=torch.float64))
    image = MetaTensor(torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 100, affine=affine)
    peer = Resized("image", (*size, -1), mode="trilinear", anti_aliasing=True)
    ours = ResizeSlicesd("image", size)
    expected, found = peer({"image": image})["image"], ours({"image": image})["image"]
    assert torch.allclose(found, expected, atol=1e-4)
    assert torch.equal(found.affine, expected.affine)
    assert found.is_contiguous()
    results = []
    for transform, resized in ((Compose([peer]), expected), (Compose([ours]), found)):
        back = Invertd("image", transform, orig_keys="image", nearest_interp=False)({"image": resized})
        results.append(back["image"])
    assert results[0].shape == results[1].shape == shape
    assert torch.allclose(results[0], results[1], atol=1e-4)
    assert torch.allclose(results[1].affine, affine)
