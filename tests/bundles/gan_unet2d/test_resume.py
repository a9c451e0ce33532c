"""A training that breaks off goes on to the same weights of both networks, to the bit, in either phase."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from tests.bundles.runs import same, workflow
from tools.phantom import write_phantoms

BATCHES = 3  # per epoch: 2 cases of 5 slices, 4 to a batch


@pytest.fixture(scope="module")
def overrides(bundle, tmp_path_factory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("resume")
    write_phantoms(
        root / "data", cases=3, seed=4, folds=3, kind="any", shape=(64, 64, 20), spacing=(3.0, 3.0, 8.0)
    )
    small = {
        "input#size": [32, 32],
        "patches_per_case": 5,
        "batch_size": 4,
        "network_def#features": 4,
        "discriminator_features": 4,
    }
    phases = {"pretrain_epochs": 2, "max_epochs": 4}
    return {"dataset_dir": str(root / "data"), "cache_dir": str(root / "cache"), **small, **phases}


def training(folder: Path, overrides: dict[str, Any]) -> ConfigWorkflow:
    folders = {"ckpt_dir": folder, "output_dir": folder / "eval"}
    result = workflow("train", "train.yaml", **overrides, **folders, save_minutes=0.0)
    result.parser.get_parsed_content("run#0")  # networks are made in the order in which `run` makes them
    return result


def outcome(workflow: ConfigWorkflow) -> dict[str, Any]:
    """All that a training leaves behind."""
    part = workflow.parser.get_parsed_content
    names = ("network_def", "discriminator_def", "optimizer", "discriminator_optimizer", "phases")
    return {
        **{name: part(name).state_dict() for name in names},
        "best": torch.load(Path(part("ckpt_dir")) / "model.pt", weights_only=True),
        "epoch": part("train#trainer").state.epoch,
        "random": torch.get_rng_state(),
    }


@pytest.fixture(scope="module")
def uninterrupted(overrides, tmp_path_factory) -> dict[str, Any]:
    workflow = training(tmp_path_factory.mktemp("whole"), overrides)
    workflow.run()
    return outcome(workflow)


class PowerFailure(Exception):
    """What breaks the training off."""


@pytest.mark.parametrize(
    "iteration", [2, 2 * BATCHES + 1, 3 * BATCHES], ids=["pre-training", "between", "adversarial"]
)
def test_the_same_weights_after_a_failure(overrides, uninterrupted, tmp_path, iteration):
    def fail(engine: Any) -> None:
        raise PowerFailure

    workflow = training(tmp_path, overrides)
    trainer = workflow.parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(Events.ITERATION_STARTED(once=iteration), fail)
    with pytest.raises(RuntimeError) as raised:  # what MONAI makes of it
        workflow.run()
    assert isinstance(raised.value.__cause__, PowerFailure)
    state = torch.load(tmp_path / "training_state.pt", weights_only=True)
    assert state["iteration"] == iteration - 1
    assert state["objects"]["phases"]["against"] == (iteration > 2 * BATCHES)

    workflow = training(tmp_path, overrides)
    torch.rand(7)  # whatever was drawn meanwhile
    workflow.run()
    found = outcome(workflow)
    for part in uninterrupted:
        assert same(found[part], uninterrupted[part]), part
    assert not (tmp_path / "training_state.pt").exists()


def test_a_training_whose_time_is_over_goes_on(overrides, uninterrupted, tmp_path, monkeypatch):
    """Before the last batch of the pre-training: the validation then must not begin the next phase."""
    now = [0.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    workflow = training(tmp_path, {**overrides, "time_limit": 5})
    trainer = workflow.parser.get_parsed_content("train#trainer")
    late = Events.ITERATION_STARTED(once=2 * BATCHES - 1)
    trainer.add_event_handler(late, lambda engine: now.append(now.pop() + 10))
    workflow.run()
    assert trainer.state.iteration == 2 * BATCHES - 1
    workflow = training(tmp_path, {**overrides, "time_limit": 5})
    workflow.run()
    found = outcome(workflow)
    for part in ("network_def", "discriminator_def", "optimizer", "discriminator_optimizer", "random"):
        assert same(found[part], uninterrupted[part]), part


def test_the_kept_weights_are_those_of_the_second_phase(uninterrupted):
    """Never those of a generator that no discriminator has seen, however good."""
    assert uninterrupted["phases"]["against"]
    assert uninterrupted["epoch"] == 4
    assert any(value.any() for value in uninterrupted["discriminator_optimizer"]["state"][0].values())
