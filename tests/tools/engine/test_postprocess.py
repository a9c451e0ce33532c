"""Label maps from probabilities, of one lesion and of types."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from tools.engine.postprocess import LabelFromProbabilitiesd, blood_probability, label_from_probabilities
from tools.volumes.save import SaveMaskd

AFFINE = np.diag([-0.5, 0.5, 5.0, 1.0])


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


@pytest.mark.parametrize("channels", [1, 3])
def test_probability_of_blood_knows_its_file(tmp_path, channels):
    """Without metadata `SaveMaskd` would take it for an image that came from no file, and write nothing."""
    probabilities = torch.rand(channels, 4, 3, 2)
    nib.save(nib.Nifti1Image(np.zeros((4, 3, 2), np.float32), AFFINE), tmp_path / "a.nii.gz")
    image = MetaTensor(probabilities, affine=AFFINE, meta={"filename_or_obj": str(tmp_path / "a.nii.gz")})
    pred = blood_probability(image)
    SaveMaskd("pred", tmp_path, "prob", torch.float32)({"pred": pred})
    saved = nib.load(tmp_path / "a_prob.nii.gz")
    expected = probabilities[0] if channels == 1 else (probabilities[1] + probabilities[2]).clamp(max=1)
    assert np.allclose(saved.get_fdata(), expected, atol=1e-6)
    assert np.array_equal(saved.affine, AFFINE)
