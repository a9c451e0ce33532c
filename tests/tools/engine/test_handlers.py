"""The time limit, and outputs as MLflow tracking reads them."""

from __future__ import annotations

import time

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator, SupervisedTrainer
from monai.handlers import from_engine

from tools.engine.checkpoint import TrainingState
from tools.engine.handlers import OutputAsList, TimeLimitHandler, ValidationHandler


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Trainings of 3 epochs of 4 iterations that take a second each, validated after every second epoch."""
    now = [0.0]
    monkeypatch.setattr(time, "time", lambda: now[0])

    def step(trainer, batch):
        now[0] += 1
        with torch.no_grad():
            trainer.network.weight.copy_((trainer.network.weight + batch + torch.rand(1)) % 7)

    def run(name, limit):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        torch.manual_seed(0)
        trainer, seen = Engine(step), []
        trainer.network = torch.nn.Linear(1, 1)

        def validate(evaluator, batch):
            torch.rand(1)  # as a DataLoader draws
            seen.append(trainer.state.iteration)

        evaluator = Evaluator(torch.device("cpu"), [0], iteration_update=validate)
        ValidationHandler(2, evaluator).attach(trainer)
        TrainingState(folder / "state.pt", {"network": trainer.network}).attach(trainer)
        TimeLimitHandler(limit_sec=limit).attach(trainer)
        now[0] += 100  # before training starts
        trainer.run([1, 1, 1, 1], max_epochs=3)
        return trainer.network.weight.item(), seen, (folder / "state.pt").exists()

    return run


@pytest.mark.parametrize(("limit", "then"), [(3, [8, 12]), (5, [8, 12]), (7, [12])])
def test_a_training_whose_time_is_over_is_validated_and_goes_on(train, limit, then):
    """After an epoch, within one, and where a validation is due; then to the same weights."""
    whole, validated, kept = train("whole", 99)
    assert (validated, kept) == ([8, 12], False)
    _, validated, kept = train("parts", limit)
    assert (validated, kept) == ([limit + 1], True)
    assert train("parts", 99) == (whole, then, False)


def test_output_is_as_mlflow_tracking_reads_it():
    """`from_engine(["loss"], first=True)` is what MONAI's `--tracking mlflow` logs."""
    network = torch.nn.Linear(1, 1)
    seen = []
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[{"image": torch.ones(2, 1), "label": torch.zeros(2, 1)}],
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.0),
        loss_function=torch.nn.MSELoss(),
        decollate=False,
        train_handlers=[OutputAsList()],
    )
    read = from_engine(["loss"], first=True)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: seen.append(read(engine.state.output))
    )
    trainer.run()
    expected = (network(torch.ones(1, 1)) ** 2).item()
    assert float(seen[0]) == pytest.approx(expected)
