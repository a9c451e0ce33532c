"""The probability that a bias alone gives."""

from __future__ import annotations

import pytest
import torch

from tools.engine.head_bias import expect_little


@pytest.mark.parametrize("probability", [0.02, 0.3])
def test_blood_begins_at_the_probability(probability):
    single, types = torch.ones(1), torch.ones(6)
    expect_little(single, probability)
    expect_little(types, probability)
    assert float(single.sigmoid()) == pytest.approx(probability)
    assert types.softmax(0)[1:].tolist() == pytest.approx([probability / 5] * 5)
