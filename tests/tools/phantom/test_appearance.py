"""`appearance="wide"`: what may change, and what may not."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from tools.core.errors import InputError
from tools.phantom.appearance import check_appearance, through_jpeg, widen

SPACING = (1.8, 1.8, 5.0)


def head() -> torch.Tensor:
    """A round head of 30 HU with darker fluid in a ring of bone."""
    axis = (torch.arange(96) - 47.5) * SPACING[0]
    radius = (axis[:, None] ** 2 + axis**2).sqrt()
    plane = torch.where(radius < 65, 30.0, torch.where(radius < 72, 1200.0, -1000.0))
    plane = torch.where(radius < 15, 8.0, plane)
    return plane[..., None].repeat(1, 1, 4)


def seeded(seed: int) -> tuple[np.random.Generator, torch.Generator]:
    return np.random.default_rng(seed), torch.Generator().manual_seed(seed)


def test_pictures_of_the_same_size_come_back_as_pillow_reads_them():
    generator = torch.Generator().manual_seed(0)
    hu = 40 + 25 * torch.randn((64, 64, 2), generator=generator)
    back = through_jpeg(hu, (40.0, 120.0), side=64, quality=80)
    for k in range(2):
        grey = ((hu[..., k] + 20) / 120 * 255).clamp(0, 255).round().to(torch.uint8).numpy()
        stream = io.BytesIO()
        Image.fromarray(grey).save(stream, "JPEG", quality=80)
        expected = torch.as_tensor(np.asarray(Image.open(stream)).copy()).float() * 120 / 255 - 20
        inside = (hu[..., k] > -20) & (hu[..., k] < 100)
        assert torch.allclose(back[..., k][inside], expected[inside], atol=1e-3)
        assert torch.equal(back[..., k][~inside], hu[..., k][~inside])


def test_good_pictures_keep_a_smooth_slice():
    ramp = torch.linspace(0, 80, 128)[:, None, None].repeat(1, 128, 1)
    assert (through_jpeg(ramp, quality=95) - ramp)[4:-4].abs().max() < 1.5


def test_air_and_bone_stay_and_order_of_tissues_stays():
    volume = head()
    changed = 0
    for seed in range(12):
        image, used = widen(volume, SPACING, *seeded(seed))
        assert torch.equal(image, image.round())
        assert image.min() >= -1024
        assert image.max() <= 3071
        axis = (torch.arange(96) - 47.5) * SPACING[0]
        radius = (axis[:, None] ** 2 + axis**2).sqrt()[..., None].expand_as(image)
        assert image[(radius > 67.5) & (radius < 69.5)].median() > 300
        assert image[radius > 80].median() < -900
        assert image[radius < 12].mean() < image[(radius > 18) & (radius < 60)].mean()
        changed += bool(used)
    assert changed > 8


def test_seed_decides():
    volume = head()
    first = [widen(volume, SPACING, *seeded(seed))[0] for seed in (3, 3, 4)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def test_unknown_appearance_is_refused():
    with pytest.raises(InputError, match="appearance: expected one of natural, wide, found 'odd'"):
        check_appearance("odd")
