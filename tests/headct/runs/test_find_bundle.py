"""One way to find a bundle and its weights, for every command."""

from __future__ import annotations

from pathlib import Path

import pytest

from headct.predict.model.chosen import ChosenModels
from headct.runs.find_bundle import BUNDLES, config_files, every_bundle, find_bundle, find_weights
from tools.core.errors import InputError


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundles" / "mine"
    (folder / "configs" / "variants").mkdir(parents=True)
    (folder / "configs" / "train.json").write_text("{}")  # of any project, so not YAML
    (folder / "configs" / "variants" / "wide.yaml").write_text("")
    return folder


def test_by_path_by_name_and_by_the_name_of_one_that_comes_along(bundle, monkeypatch):
    assert find_bundle(bundle) == bundle
    assert find_bundle("dunet") == BUNDLES / "dunet"
    monkeypatch.chdir(bundle.parents[1])
    assert find_bundle("mine") == bundle
    assert find_bundle("bundles/mine/") == bundle


def test_what_is_no_bundle_is_said_with_those_there_are(tmp_path):
    for name in ("nothing", tmp_path):
        with pytest.raises(InputError, match=r"folder of a bundle or one of dunet, gan_unet2d, .*, found"):
            find_bundle(name)


def test_a_needed_file_is_named(bundle):
    assert find_bundle("dunet", "configs/train.yaml") == BUNDLES / "dunet"
    with pytest.raises(InputError, match=r"expected the file configs/train.yaml, found none in .*mine$"):
        find_bundle(bundle, "configs/train.yaml")


def test_all_are_those_that_come_along():
    """The four of the repository, each of which has weights."""
    chosen = ChosenModels("all", None)
    assert [folder.name for folder in chosen.folders] == [
        "dunet",
        "gan_unet2d",
        "se_unet3d",
        "unetpp_pretrained",
    ]
    assert ChosenModels(["all"], None).weights == chosen.weights


def test_all_are_those_with_weights(bundle, monkeypatch):
    monkeypatch.setattr("headct.runs.find_bundle.BUNDLES", bundle.parent)
    with pytest.raises(InputError, match=r"bundle all: expected bundles with weights in .*, found none"):
        every_bundle()
    (bundle.parent / "other" / "models").mkdir(parents=True)
    (bundle.parent / "other" / "models" / "model.pt").touch()
    assert every_bundle() == ["other"]


def test_overlays_by_name(bundle):
    assert config_files(bundle, ["wide"]) == ["configs/train.yaml", "configs/variants/wide.yaml"]
    with pytest.raises(InputError, match="expected one of default, wide, found 'narrow'"):
        config_files(bundle, ["narrow"])


def test_weights_are_one_file_or_those_of_a_pattern(bundle, tmp_path):
    with pytest.raises(InputError, match=r"models/model.pt: expected the weights of bundle mine"):
        find_weights(bundle)
    for name in ("model.pt", "fold_1.pt", "fold_0.pt", "fold_[0].pt"):
        (bundle / "models").mkdir(exist_ok=True)
        (bundle / "models" / name).touch()
    assert find_weights(bundle) == [bundle / "models" / "model.pt"]
    folds = find_weights(bundle, bundle / "models" / "fold_?.pt")
    assert [path.name for path in folds] == ["fold_0.pt", "fold_1.pt"]
    brackets = bundle / "models" / "fold_[0].pt"
    assert find_weights(bundle, brackets) == [brackets]
    with pytest.raises(InputError, match="found no such file"):
        find_weights(bundle, tmp_path / "*.pt")


def test_further_weights_of_a_bundle_by_their_name(bundle, tmp_path, monkeypatch):
    """A file or folder of that name where the command runs goes first."""
    (bundle / "models").mkdir()
    for name in ("model", "types"):
        (bundle / "models" / f"{name}.pt").touch()
    monkeypatch.chdir(tmp_path)
    assert find_weights(bundle) == [bundle / "models" / "model.pt"]
    assert find_weights(bundle, "types") == [bundle / "models" / "types.pt"]
    with pytest.raises(InputError, match=r"other: expected weights .*, found no such file"):
        find_weights(bundle, "other")
    Path("types").touch()
    assert find_weights(bundle, "types") == [tmp_path / "types"]
