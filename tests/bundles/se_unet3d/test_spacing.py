"""Resampling and its inverse, with the entries that MONAI Label adds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Spacingd


@pytest.fixture(scope="module")
def spacing(bundle):
    from scripts import spacing

    return spacing


def test_spacing_survives_entries_that_monai_label_adds(spacing):
    image = MetaTensor(torch.rand(1, 8, 8, 4), affine=torch.diag(torch.tensor([1.0, 1.0, 5.0, 1.0])))
    item = {"image": image, "image_path": "scan.nii.gz", "image_id": 7}
    out = spacing.ResampleSpacingd("image", pixdim=(2.0, 2.0, 5.0))(item)
    assert out["image"].pixdim.tolist() == [2, 2, 5]
    assert (out["image_path"], out["image_id"]) == ("scan.nii.gz", 7)
    assert spacing.ResampleSpacingd("image", pixdim=None)(item)["image"] is image


def test_spacing_inverse_restores_the_grid(spacing):
    image = MetaTensor(torch.rand(1, 9, 8, 4), affine=torch.diag(torch.tensor([1.0, 1.0, 5.0, 1.0])))
    resample = spacing.ResampleSpacingd("image", pixdim=(2.0, 2.0, 5.0))
    back = resample.inverse(resample({"image": image}))["image"]
    assert back.shape == image.shape
    assert torch.allclose(back.affine, image.affine)


@pytest.mark.parametrize("pixdim", [(1.2, 1.2, 5.0), (3.0, 2.5, 1.0), (0.7, 0.9, 2.0)])
@pytest.mark.parametrize("sheared", [False, True])
def test_in_parts_as_monai_does_at_once(spacing, pixdim, sheared):
    """There, and back with values only in a box, as of a brain; also where they reach the border."""
    affine = torch.diag(torch.tensor([0.8, 0.8, 1.5, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([-20.0, 3, 7])
    if sheared:
        affine[1, 2] = 0.4
    generator = torch.Generator().manual_seed(1)
    image = MetaTensor(torch.rand(1, 31, 28, 45, generator=generator), affine=affine.clone())
    peer, resample = Spacingd("image", pixdim), spacing.ResampleSpacingd("image", pixdim)
    there, expected = (one({"image": image.clone()})["image"] for one in (resample, peer))
    assert there.shape == expected.shape
    torch.testing.assert_close(there.as_tensor(), expected.as_tensor(), atol=1e-6, rtol=0)
    torch.testing.assert_close(there.affine, expected.affine)
    for box in (np.s_[:, 8:14, 9:15, 4:9], np.s_[:, :5, 9:, 2:], np.s_[:, :, :, :], np.s_[:, :0]):
        filled = torch.zeros(2, *there.shape[1:])
        filled[box] = torch.rand(filled[box].shape, generator=generator)
        at_once = peer.inverse({"image": MetaTensor(filled.clone()).copy_meta_from(expected)})["image"]
        found = resample.inverse({"image": MetaTensor(filled.clone()).copy_meta_from(there)})["image"]
        assert found.shape == at_once.shape == (2, 31, 28, 45)
        torch.testing.assert_close(found.as_tensor(), at_once.as_tensor(), atol=1e-6, rtol=0)
        assert torch.allclose(found.affine, affine)
        assert found.applied_operations == []
