"""Ensembles against the plain mean and standard deviation over their members."""

from __future__ import annotations

import json

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer
from torch import nn

from tools.core.errors import InputError
from tools.engine.ensemble import EnsembleInferer, find_checkpoints, load_members


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv3d(4, 3, 1))


def test_full_disagreement_is_one_half():
    members = [lambda x: torch.cat([torch.ones_like(x), torch.zeros_like(x)], 1)]
    members += [lambda x: torch.cat([torch.zeros_like(x), torch.ones_like(x)], 1)]
    result = EnsembleInferer(SimpleInferer())(torch.zeros(1, 1, 4, 4, 4), members)
    assert (result == 0.5).all()


def test_metadata_is_kept():
    affine = torch.diag(torch.tensor([0.5, 0.5, 5.0, 1.0], dtype=torch.float64))
    image = MetaTensor(torch.rand(1, 2, 16, 16, 8), affine=affine)
    result = EnsembleInferer(SimpleInferer())(image, [network(0), network(1)])
    assert isinstance(result, MetaTensor)
    assert torch.equal(result.affine, affine)


def test_members_after_the_first_may_be_computed_elsewhere():
    """As where memory ends amid the ensemble; "meta" stands for the device that is left."""
    places = iter(["cpu", "meta"])
    inferer = EnsembleInferer(lambda image, network: image.to(next(places)))
    assert inferer(torch.rand(1, 2, 4, 4), [nn.Identity(), nn.Identity()]).device.type == "meta"


def test_members_are_copies_with_their_own_weights(tmp_path):
    files = []
    for seed in (3, 4):
        files.append(tmp_path / f"fold{seed}" / "model.pt")
        files[-1].parent.mkdir()
        torch.save(network(seed).state_dict(), files[-1])
    blank = network(0)
    before = blank.state_dict()["0.weight"].clone()
    members = load_members(blank, str(tmp_path / "fold*" / "model.pt"), amp=False)
    x = torch.rand(1, 2, 8, 8, 8)
    assert len(members) == 2
    assert not members.training or not any(member.training for member in members)
    for seed, member in zip((3, 4), members, strict=True):
        assert torch.allclose(member(x), network(seed)(x), atol=1e-6)
    assert torch.equal(blank.state_dict()["0.weight"], before)


def test_find_checkpoints(tmp_path):
    a, b = tmp_path / "a.pt", tmp_path / "b.pt"
    for file in (b, a):
        file.touch()
    assert find_checkpoints(a) == [a]
    assert find_checkpoints(str(tmp_path / "*.pt")) == [a, b]
    assert find_checkpoints([b, str(a)]) == [b, a]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("no*.pt", "expected weights of the ensemble's members, found no such file"),
        (["a.pt", "missing.pt"], "missing.pt: expected weights"),
        (["a.pt", "*.pt"], "a.pt: expected each of the ensemble's members once"),
    ],
)
def test_wrong_paths(tmp_path, names, message):
    (tmp_path / "a.pt").touch()
    paths = [tmp_path / name for name in names] if isinstance(names, list) else tmp_path / names
    with pytest.raises(InputError, match=message):
        find_checkpoints(paths)


def test_empty_list():
    with pytest.raises(InputError, match="found an empty list"):
        find_checkpoints([])
    with pytest.raises(InputError, match="found none"):
        EnsembleInferer(SimpleInferer())(torch.zeros(1, 1, 4, 4, 4), [])


@pytest.mark.parametrize("content", ["other network", "no weights at all"])
def test_weights_that_do_not_fit(tmp_path, content):
    path = tmp_path / "model.pt"
    if content == "other network":
        torch.save(nn.Linear(2, 2).state_dict(), path)
    else:
        path.write_text("hello")
    found = {"other network": " of Sequential", "no weights at all": ", found a file that torch can't read"}
    with pytest.raises(InputError, match=f"{path}: expected weights{found[content]}"):
        load_members(network(0), path)


def test_each_member_must_be_trained_with_what_it_will_be_shown(tmp_path):
    for seed, window in ((1, [0, 100]), (2, [0, 80])):
        torch.save(network(seed).state_dict(), tmp_path / f"{seed}.pt")
        (tmp_path / f"{seed}.json").write_text(json.dumps({"window": window}))
    with pytest.raises(InputError, match=r"2.pt: expected window \[0, 80\], .* found \[0, 100\]"):
        load_members(network(0), str(tmp_path / "*.pt"), settings={"window": (0, 100)})
    assert len(load_members(network(0), tmp_path / "1.pt", settings={"window": (0, 100)})) == 1
