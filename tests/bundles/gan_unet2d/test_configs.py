"""The configurations hold what MONAI, the model zoo and MONAI Label look for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from tests.bundles.config_checks import *  # noqa: F403


@pytest.fixture
def overrides(tiny_slices):
    return tiny_slices


def test_shipped_weights_fit_and_find_blood(bundle):
    """As inference loads them: a bright disc in a grey brain is outlined, a brain without one left alone."""
    parser = ConfigParser()
    parser.read_config("configs/inference.yaml")
    network = parser.get_parsed_content("network_def").eval()
    weights = torch.load("models/model.pt", weights_only=True)
    assert Path("models/model.pt").stat().st_size < 25e6
    network.load_state_dict(weights)
    x, y = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    head = torch.hypot((x - 128) / 85, (y - 128) / 105)
    noise = 0.03 * torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    plain = torch.where(head < 0.92, 0.45 + noise, 1.0).where(head < 1, torch.tensor(0.0)).clamp(0, 1)
    disc = torch.hypot(x - 100, y - 150) < 14
    bleeding = torch.where(disc, 0.72 + noise, plain)
    with torch.no_grad():
        found = network(torch.stack([plain, bleeding])[:, None]).sigmoid()[:, 0] > 0.5
    assert found[0].sum() < 30
    assert 2 * (found[1] & disc).sum() / (found[1].sum() + disc.sum()) > 0.6
