"""Label maps from probabilities, of one lesion and of types."""

from __future__ import annotations

import torch

from tools.engine.postprocess import LabelFromProbabilitiesd, label_from_probabilities


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
