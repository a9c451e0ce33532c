"""An installed bundle is copied before a run writes to it."""

from __future__ import annotations

import headct.runs.find_bundle as module


def test_an_installed_bundle_is_copied_once_and_then_found_there(tmp_path, monkeypatch):
    installed = tmp_path / "site-packages" / "headct" / "_bundles"
    (installed / "method" / "configs").mkdir(parents=True)
    (installed / "method" / "configs" / "train.yaml").write_text("seed: 0\n")
    monkeypatch.setattr(module, "INSTALLED", installed)
    monkeypatch.setattr(module, "BUNDLES", installed)
    monkeypatch.chdir(tmp_path)
    copy = module.own_copy(module.find_bundle("method"))
    assert copy == tmp_path / "bundles" / "method"
    assert (copy / "configs" / "train.yaml").read_text() == "seed: 0\n"
    assert module.find_bundle("method") == copy
    assert module.own_copy(copy) == copy
