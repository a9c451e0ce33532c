"""The best weights on disk, and those that came with the bundle."""

from __future__ import annotations

import json

import pytest
import torch
from ignite.engine import Engine

from tools.core.errors import InputError
from tools.engine.checkpoint import BestWeights, TrainingState, load_weights, require_weights
from tools.engine.handlers import EarlyStop


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


@pytest.mark.parametrize("metric", ["loss", "-loss"])
def test_not_a_number_is_never_the_best(tmp_path, validation, metric):
    """As the loss of weights that have run away; a NaN that is kept would be better than all that follow."""
    network, trainer = torch.nn.Linear(1, 1), Engine(lambda engine, batch: None)
    best, stop = BestWeights(tmp_path / "model.pt", network, metric=metric), EarlyStop(2, metric)
    stop.set_trainer(trainer)
    for value in (float("nan"), 1.0, float("nan"), float("nan")):
        torch.nn.init.constant_(network.weight, value)
        validation.state.metrics["loss"] = value
        best(validation)
        stop._handler(validation)
    assert torch.load(tmp_path / "model.pt")["weight"] == 1
    assert trainer.should_terminate


def test_shipped_weights_that_are_not_there(tmp_path, validation):
    (tmp_path / "model.json").write_text('{"shipped": true}')
    BestWeights(tmp_path / "model.pt", torch.nn.Linear(1, 1), {"spacing": None})(validation)
    assert (tmp_path / "model.pt").is_file()


def test_resume_false_does_not_read_the_state(tmp_path):
    def run(resume):
        (tmp_path / "state.pt").write_bytes(b"no state")
        engine = Engine(lambda engine, batch: None)
        TrainingState(tmp_path / "state.pt", {"network": torch.nn.Linear(1, 1)}, resume=resume).attach(engine)
        engine.run([0], max_epochs=1)

    run("false")
    with pytest.raises(InputError, match=r"state\.pt: expected the state of an interrupted training"):
        run("true")


class Sampler:
    """A part of a training that says with which settings it was made."""

    def __init__(self, mix: str) -> None:
        self.settings = {"mix": mix}

    def state_dict(self) -> dict[str, int]:
        return {"epoch": 0}

    def load_state_dict(self, state: dict[str, int]) -> None:
        pass


def parts(
    dropout: float = 0.1, rates: tuple[float, float] = (0.1, 0.1), mix: str = "brain"
) -> dict[str, object]:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(dropout), torch.nn.Linear(2, 2))
    groups = [{"params": network[i].parameters(), "lr": lr} for i, lr in zip((0, 2), rates, strict=True)]
    return {"network": network, "optimizer": torch.optim.SGD(groups, lr=1.0), "sampler": Sampler(mix)}


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"dropout": 0.2}, "network"),  # its weights are the same
        ({"rates": (0.1, 0.2)}, "optimizer"),
        ({"mix": "border"}, "sampler mix"),
    ],
)
def test_a_training_goes_on_only_with_parts_of_the_same_settings(tmp_path, changed, name):
    """Nothing of it was given as `settings`."""
    engine = Engine(lambda engine, batch: None)
    engine.state.epoch_length, engine.state.iteration = 2, 2
    path = tmp_path / "training_state.pt"
    TrainingState(path, parts()).save(engine)
    TrainingState(path, parts()).load(engine)
    with pytest.raises(InputError, match=f"found another {name};"):
        TrainingState(path, parts(**changed)).load(engine)


@pytest.mark.parametrize(
    "content", ["hello", [1, 2], {"a": 1}, torch.ones(2), {"settings": {}, "objects": {}}]
)
def test_what_is_no_state(tmp_path, content):
    engine = Engine(lambda engine, batch: None)
    engine.state.epoch_length = 2
    path = tmp_path / "training_state.pt"
    path.write_text(content) if isinstance(content, str) else torch.save(content, path)
    with pytest.raises(InputError, match=rf"{path}: expected the state of an interrupted training, found"):
        TrainingState(path, parts()).load(engine)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("hello", "a file that torch can't read"),
        ([1, 2], "list"),
        ({}, "dict"),
        ({"a": 1}, "int under 'a'"),
        ({"model": {"weight": torch.ones(1, 1)}}, "1 keys, of which 1 fit"),
        ({"weight": torch.ones(2, 2), "bias": torch.ones(1)}, "2 keys, of which 1 fit"),
    ],
)
def test_what_is_no_weights_of_the_network(tmp_path, content, found):
    """`require_weights` stands before inference and evaluation, `load_weights` in the commands."""
    path = tmp_path / "model.pt"
    path.write_text(content) if isinstance(content, str) else torch.save(content, path)
    network = torch.nn.Linear(1, 1)
    for check in (lambda: require_weights(path, {}, network), lambda: load_weights(network, path)):
        with pytest.raises(InputError, match=rf"{path}: expected weights.*found {found}"):
            check()


def test_weights_of_the_network_also_below_a_key(tmp_path):
    network, path = torch.nn.Linear(1, 1), tmp_path / "model.pt"
    for content in (network.state_dict(), {"model": network.state_dict(), "epoch": 3}):
        torch.save(content, path)
        require_weights(path, {}, network)
        other = torch.nn.Linear(1, 1)
        load_weights(other, path)
        assert torch.equal(other.weight, network.weight)


def test_a_network_s_settings_stand_beside_its_weights(tmp_path, validation):
    network = torch.nn.Linear(1, 1)
    network.settings = {"features": 8}
    path = tmp_path / "model.pt"
    BestWeights(path, network, {"symmetric": "false"})(validation)  # as the command line gives it
    assert json.loads(path.with_suffix(".json").read_text()) == {"symmetric": False, "features": 8}
    require_weights(path, {"symmetric": False}, network)
    network.settings = {"features": 16}
    with pytest.raises(
        InputError, match="expected features 8, with which these weights were trained, found 16"
    ):
        require_weights(path, {"symmetric": False}, network)
