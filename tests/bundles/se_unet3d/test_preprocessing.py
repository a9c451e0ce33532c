"""What the network sees is what the functions of `tools` give, step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tools.phantom import write_phantoms
from tools.symmetry import estimate_symmetry_plane, symmetry_map
from tools.volumes.brain import extract_brain
from tools.volumes.read import read_label, read_volume


@pytest.fixture(scope="module")
def case(tiny):
    write_phantoms(tiny["phantom_dir"], **tiny["phantom"])
    return {key: str(tiny["phantom_dir"] / f"{key}s" / "case_000.nii.gz") for key in ("image", "label")}


@pytest.fixture(scope="module")
def preprocessing(bundle):
    from scripts.preprocessing import Preprocessing

    return Preprocessing


def test_channels_equal_the_functions(preprocessing, case):
    out = preprocessing()(dict(case))
    hu = read_volume(case["image"])
    brain = extract_brain(hu, method="rules2022").as_tensor()
    stripped = hu.masked_fill(~brain, -1024)
    mirrored = symmetry_map(stripped, estimate_symmetry_plane(hu), fill=-1024)
    expected = torch.cat([hu.as_tensor(), torch.as_tensor(mirrored)]).masked_fill(~brain, 0)
    expected = (expected / 100).clamp(0, 1)
    inside = np.nonzero(brain[0].numpy())
    box = tuple(slice(max(0, i.min() - 1), i.max() + 2) for i in inside)
    assert torch.allclose(out["image"].as_tensor(), expected[(slice(None), *box)], atol=1e-6)
    assert torch.equal(out["label"].as_tensor(), read_label(case["label"]).as_tensor()[(slice(None), *box)])
    # what was cropped away is background alone
    assert expected[0].sum() == pytest.approx(float(out["image"][0].sum()), rel=1e-6)


@pytest.mark.parametrize("normalisation", ["window", "percentile"])
def test_image_alone_tells_the_brain(preprocessing, case, normalisation):
    """MONAI Label hands over no mask; there are voxels of 0 HU and less in the ventricles."""
    out = preprocessing(normalisation=normalisation)(dict(case))
    brain = out["brain"].as_tensor()[0] > 0
    assert torch.equal(out["image"].as_tensor()[0] != 0, brain)
    assert torch.equal(out["image"].as_tensor()[0].half() != 0, brain)


def test_hyperdense_region_is_no_lesion(preprocessing, case):
    out = preprocessing()(dict(case))
    assert out["hyperdense"].shape == out["label"].shape
    assert not ((out["hyperdense"] > 0) & (out["label"] > 0)).any()


def test_resampled_to_the_spacing_asked_for(preprocessing, case):
    out = preprocessing(spacing=(5.0, 5.0, 8.0), symmetric=False, regions=False)(dict(case))
    assert torch.allclose(out["image"].pixdim, torch.tensor([5.0, 5.0, 8.0], dtype=torch.float64), atol=1e-6)
    assert out["image"].shape[0] == 1
    assert "hyperdense" not in out
    before, after = read_label(case["label"]), out["label"]
    volumes = [float(x.sum() * x.pixdim.prod()) for x in (before, after)]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.35)  # nearest neighbour on 5 mm voxels
