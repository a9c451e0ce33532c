"""The threshold baseline as a network: its rule by hand, its grid search against the plain one, its file."""

from __future__ import annotations

import json

import pytest
import torch

from tools.core.errors import InputError


@pytest.fixture(scope="module")
def threshold(bundle):
    from scripts import threshold

    return threshold


def case(shift: int = 0) -> dict[str, torch.Tensor]:
    """Grey 100 with a lesion of grey 180 in the first of two slices, brightened by `shift`."""
    grey = torch.full((1, 8, 8, 2), 100.0)
    label = torch.zeros(1, 8, 8, 2)
    label[0, 2:5, 3:6, 0] = 1
    grey[label > 0] = 180
    return {"image": (grey + shift) / 255, "label": label}


def test_between_both_thresholds_inclusive(threshold):
    network = threshold.ThresholdNetwork(140, 230)
    x = torch.tensor([139, 140, 230, 231]).view(1, 1, 2, 2) / 255
    assert network(x).flatten().tolist() == [-10, 10, 10, -10]
    assert network(x.expand(2, 3, 2, 2)).shape == (2, 1, 2, 2)


def test_fit_separates_what_can_be_separated(threshold, tmp_path, capsys):
    """Tissue up to 115, lesion from 180 to 195: the lowest lower threshold between, and any upper one."""
    found = threshold.fit_thresholds([case(), case(15)], tmp_path / "model.pt")
    assert found == {"lower": 116, "upper": 210, "jaccard": 1.0}
    network = threshold.ThresholdNetwork()
    network.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    image, label = case(15)["image"], case(15)["label"]
    assert torch.equal(network(image[None, ..., 0])[0] > 0, label[..., 0] > 0)
    assert "116 to 210" in capsys.readouterr().out


def test_shipped_weights_are_kept(threshold, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"shipped")
    (tmp_path / "model.json").write_text(json.dumps({"shipped": True}))
    threshold.fit_thresholds([case()], tmp_path / "model.pt")
    assert (tmp_path / "original.pt").read_bytes() == b"shipped"
    assert not (tmp_path / "model.json").exists()


def test_nothing_to_fit_on(threshold, tmp_path):
    empty = {**case(), "label": torch.zeros(1, 8, 8, 2)}
    with pytest.raises(InputError, match="cases with hemorrhage, found none"):
        threshold.fit_thresholds([empty], tmp_path / "model.pt")
