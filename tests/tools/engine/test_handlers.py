"""The time limit, and outputs as MLflow tracking reads them."""

from __future__ import annotations

import time

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from monai.handlers import from_engine

from tools.engine.handlers import OutputAsList, TimeLimitHandler


def test_time_limit_ends_training():
    engine = Engine(lambda engine, batch: time.sleep(0.25))
    TimeLimitHandler(limit_sec=1).attach(engine)
    engine.run(range(40), max_epochs=5)
    assert 4 <= engine.state.iteration <= 7


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
