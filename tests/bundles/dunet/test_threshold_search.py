"""The grid search against thresholding every slice with every pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tools.core.errors import InputError


@pytest.fixture(scope="module")
def search(bundle):
    from scripts import threshold_search

    return threshold_search


def slices(count: int = 20, side: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise; the lesion is brighter, and absent in every fifth slice."""
    random = torch.Generator().manual_seed(4)
    lesion = torch.zeros(count, side, side, dtype=torch.bool)
    for k in range(count):
        if k % 5:
            lesion[k, k % 7 : k % 7 + 9, 5:17] = True
    grey = 110 + 40 * lesion + 30 * torch.randn(count, side, side, generator=random)
    return grey.clamp(0, 255).to(torch.uint8), lesion


def brute_force(grey: torch.Tensor, lesion: torch.Tensor, lower: int, upper: int) -> list[float]:
    """Jaccard index of every slice."""
    scores = []
    for values, truth in zip(grey.numpy(), lesion.numpy(), strict=True):
        found = (values >= lower) & (values <= upper)
        union = np.sum(found | truth)
        scores.append(np.sum(found & truth) / union if union else 1.0)
    return scores


def test_grid_against_brute_force(search, device):
    grey, lesion = slices()
    grid = search.jaccard_grid(search.grey_histograms(grey.to(device), lesion.to(device))).cpu()
    assert grid.shape == (20, 111, 46)
    for lower in (100, 127, 209, 210):
        for upper in (210, 233, 255):
            expected = brute_force(grey, lesion, lower, upper)
            assert grid[:, lower - 100, upper - 210].tolist() == pytest.approx(expected, abs=1e-12)


def test_best_pair_is_the_best_of_all(search):
    grey, lesion = slices(6, 12)
    pairs = {
        (low, high): np.mean(brute_force(grey, lesion, low, high))
        for low in range(100, 211, 5)
        for high in (210, 220, 255)
    }
    best = max(pairs.values())
    found = search.best_thresholds(search.grey_histograms(grey, lesion), range(100, 211, 5), (210, 220, 255))
    assert found.jaccard == pytest.approx(best, abs=1e-12)
    assert (found.lower, found.upper) == next(pair for pair, score in pairs.items() if score >= best - 1e-12)


def test_pooled_weighs_pixels_not_slices(search):
    grey, lesion = slices()
    found = search.best_thresholds(search.grey_histograms(grey, lesion), pooled=True)
    range_ = (grey >= found.lower) & (grey <= found.upper)
    assert found.jaccard == pytest.approx(float((range_ & lesion).sum() / (range_ | lesion).sum()), abs=1e-6)
    assert found.jaccard == pytest.approx(float(found.grid.max()))


def test_empty_truth_and_empty_range(search):
    """Nothing to find and nothing found is right; crossed thresholds find nothing."""
    grey, lesion = torch.full((2, 4, 4), 90, dtype=torch.uint8), torch.zeros(2, 4, 4, dtype=torch.bool)
    lesion[1, 0, 0] = True
    grid = search.jaccard_grid(search.grey_histograms(grey, lesion), (80, 200), (100,))
    assert grid[:, :, 0].tolist() == [[0.0, 1.0], [1 / 16, 0.0]]


def test_wrong_input(search):
    with pytest.raises(InputError, match=r"found torch.float32 \(1, 4, 4\)"):
        search.grey_histograms(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool))
    with pytest.raises(InputError, match="at least one slice"):
        search.best_thresholds(torch.zeros(0, 2, 256, dtype=torch.int64))
