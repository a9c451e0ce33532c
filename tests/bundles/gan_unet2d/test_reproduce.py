"""`headct reproduce li2021` from training to page, on a tiny set."""

from __future__ import annotations

from headct.reproduce import reproduce


def test_one_network(bundle, tmp_path, monkeypatch):
    monkeypatch.delenv("HEADCT_REAL_DATA", raising=False)
    phantom = {"cases": 2, "test_cases": 1, "seed": 3, "folds": 2, "kind": "any"}
    keys = {
        "phantom": {**phantom, "shape": [64, 64, 20], "spacing": [3.0, 3.0, 8.0]}, "input#size": [64, 64],
        "max_epochs": 2, "pretrain_epochs": 1, "val_interval": 1, "network_def#features": 4,
    }  # fmt: skip
    reproduce("li2021", "quick", tmp_path, tmp_path / "work", 1, keys, rows=["UNet6Gan"], timing=False)
    page = (tmp_path / "li2021.md").read_text()
    assert "| UNet6Gan |  | 0.915 |" in page
    assert "20 slices" in page
    assert "`headct reproduce li2021 --quick --rows UNet6Gan --no-timing --set 'phantom={" in page
    assert (tmp_path / "li2021_family.png").is_file()
    log = (tmp_path / "work" / "li2021" / "quick" / "runs" / "UNet6Gan" / "run" / "training.log").read_text()
    assert "adversarial training begins after epoch 1" in log
