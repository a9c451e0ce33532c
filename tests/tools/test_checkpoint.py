"""The best weights on disk, and those that came with the bundle."""

from __future__ import annotations

import json

import pytest
import torch
from ignite.engine import Engine

from tools.checkpoint import BestWeights


@pytest.fixture
def validation():
    """An evaluator whose key metric is 1."""
    engine = Engine(lambda engine, batch: None)
    engine.state.metrics, engine.state.key_metric_name = {"dice": 1.0}, "dice"
    return engine


def test_shipped_weights_are_kept(tmp_path, validation):
    """Beside the new ones, with what was written beside them; once, whatever happens later."""
    path, network = tmp_path / "model.pt", torch.nn.Linear(1, 1)
    path.write_bytes(b"shipped")
    path.with_suffix(".json").write_text('{"shipped": true}')
    BestWeights(path, network, {"spacing": None})(validation)
    assert torch.equal(torch.load(path)["weight"], network.weight)
    assert json.loads(path.with_suffix(".json").read_text()) == {"spacing": None}
    assert (tmp_path / "original.pt").read_bytes() == b"shipped"
    assert json.loads((tmp_path / "original.json").read_text()) == {"shipped": True}
    # killed between the new weights and the file beside them: the next training must not keep those
    path.with_suffix(".json").write_text('{"shipped": true}')
    BestWeights(path, network, {"spacing": None})(validation)
    assert (tmp_path / "original.pt").read_bytes() == b"shipped"


def test_shipped_weights_that_are_not_there(tmp_path, validation):
    (tmp_path / "model.json").write_text('{"shipped": true}')
    BestWeights(tmp_path / "model.pt", torch.nn.Linear(1, 1), {"spacing": None})(validation)
    assert (tmp_path / "model.pt").is_file()
