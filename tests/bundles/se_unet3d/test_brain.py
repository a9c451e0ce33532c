"""The brain and the hyperdense region as transforms: what the functions of `tools` find."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd

from tools.phantom import HeadPhantom
from tools.phantom.head import PhantomCase
from tools.sampling.case_regions import as_volume
from tools.sampling.regions import hyperdense_region
from tools.volumes.brain import extract_brain

SPACING = (1.8, 1.8, 5.0)


@pytest.fixture(scope="module")
def transforms(bundle):
    from scripts import brain

    return brain


@pytest.fixture(scope="module")
def head() -> PhantomCase:
    """A head with intraventricular blood."""
    return HeadPhantom(seed=21, index=1, shape=(128, 128, 33), spacing=SPACING, kind="iph_ivh").render()


def test_brain(transforms, head: PhantomCase) -> None:
    flipped = Flipd("image", spatial_axis=1)({"image": head.image})["image"]
    data = Compose([Flipd("image", spatial_axis=1), transforms.ExtractBraind()])({"image": head.image})
    assert torch.equal(data["brain"].as_tensor().bool(), extract_brain(flipped).as_tensor())
    assert torch.equal(data["brain"].affine, flipped.affine)


def test_hyperdense_region(transforms, head: PhantomCase) -> None:
    item = {"image": head.image, "brain": head.brain, "label": head.label(["iph"])}
    result = transforms.HyperdenseRegiond()(item)
    region = result["hyperdense"]
    assert isinstance(region, MetaTensor)
    assert torch.equal(region.affine, head.image.affine)
    expected = hyperdense_region(
        as_volume(head.image)[0], as_volume(head.brain)[0] > 0, SPACING, item["label"][0] > 0
    )
    assert torch.equal(as_volume(region)[0] > 0, expected)
    assert "hyperdense" not in item
