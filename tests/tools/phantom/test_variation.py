"""A varied scan: blood paler by the factor drawn, the rest as it was; each change within its bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tools.core.errors import InputError
from tools.phantom.variation import BRAIN_HU, ScanVariation

STILL = {
    "contrast": (1.0, 1.0),
    "gain": 0.0,
    "offset": 0.0,
    "field": 0.0,
    "noise": 0.0,
    "blur": 0.0,
    "share": 1.0,
}


def scan() -> tuple[torch.Tensor, torch.Tensor]:
    """Brain of 33 HU with a cube of blood of 63."""
    image, label = torch.full((1, 40, 40, 6), BRAIN_HU), torch.zeros(1, 40, 40, 6, dtype=torch.uint8)
    image[:, 10:30, 10:30, 2:4], label[:, 10:30, 10:30, 2:4] = 63.0, 2
    return image, label


def varied(seed: int = 0, **options) -> torch.Tensor:
    return ScanVariation(**{**STILL, **options})(*scan(), np.random.default_rng(seed))


def test_nothing_asked_for_nothing_changed():
    image, _ = scan()
    assert torch.allclose(varied(), image, atol=1e-4)
    assert torch.equal(varied(share=0.0, contrast=(0.1, 0.2), noise=50.0, offset=30.0), image)


def test_contrast_of_blood_alone():
    image, label = scan()
    paler = varied(contrast=(0.4, 0.4))
    assert torch.allclose(paler[:, 14:26, 14:26, 2:4], torch.tensor(33 + 0.4 * 30), atol=0.1)  # 45 HU
    assert torch.equal(paler[label == 0], image[label == 0])


def test_gain_and_offset_are_of_the_whole_scan():
    image, _ = scan()
    changed = varied(gain=0.2, offset=5.0)
    gain = (changed[0, 20, 20, 2] - changed[0, 0, 0, 0]) / 30
    assert 0.8 <= gain <= 1.2
    assert gain != 1
    assert torch.allclose(
        changed, BRAIN_HU + (image - BRAIN_HU) * gain + (changed[0, 0, 0, 0] - BRAIN_HU), atol=1e-3
    )
    assert abs(changed[0, 0, 0, 0] - BRAIN_HU) <= 5


def test_noise_has_at_most_the_deviation_asked_for():
    image, _ = scan()
    deviations = [float((varied(seed, noise=4.0) - image).std()) for seed in range(12)]
    assert 0 <= min(deviations) < 2 < max(deviations) <= 4.01


def test_field_is_smooth_and_within_its_bound():
    image, _ = scan()
    field = varied(3, field=6.0) - image
    assert 0.1 < field.abs().max() <= 6
    assert field.diff(dim=1).abs().max() < 1


def test_blur_keeps_the_mean_of_each_slice():
    image, _ = scan()
    blurred = varied(1, blur=2.0)
    assert torch.allclose(blurred.mean((1, 2)), image.mean((1, 2)), atol=1e-3)
    assert blurred.diff(dim=1).abs().max() < image.diff(dim=1).abs().max()


def test_random_numbers_determine_it():
    options = {"contrast": (0.4, 1.1), "gain": 0.1, "noise": 3.0, "field": 3.0, "blur": 1.0, "share": 0.5}
    assert torch.equal(varied(7, **options), varied(7, **options))
    assert not torch.equal(varied(7, **options), varied(8, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contrast": (1.0, 0.5)}, "contrast: expected two factors"),
        ({"contrast": (0.0, 0.5)}, "contrast: expected two factors"),
        ({"share": 1.2}, "share: expected a share"),
        ({"noise": -1.0}, "noise: expected a number from 0"),
    ],
)
def test_wrong_numbers_are_named(options, message):
    with pytest.raises(InputError, match=message):
        ScanVariation(**options)
