"""Averaged weights: against a loop by hand, and what validation, the file and training see of them."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events

from tools.engine.average import AveragedWeights


def training(decay, seen, steps=(1.0, 2.0, 4.0, 8.0)):
    """A network whose weight is set to the next number in each step; what validation sees of it is noted."""
    network = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.BatchNorm1d(1))
    torch.nn.init.constant_(network[0].weight, -5.0)

    def step(engine, batch):
        assert engine.state.iteration == 1 or network[0].weight.item() == steps[engine.state.iteration - 2]
        torch.nn.init.constant_(network[0].weight, batch)
        network[1].running_mean.fill_(10 * batch)
        network[1].num_batches_tracked += 1

    def note(engine, batch):
        values = network[0].weight, network[1].running_mean, network[1].num_batches_tracked
        seen.append(tuple(value.item() for value in values))

    trainer, validator = Engine(step), Engine(note)
    average = AveragedWeights(network, validator, decay)
    average.attach(trainer)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: validator.run([0]))
    return network, average, trainer


def test_average_by_hand():
    seen: list = []
    network, _, trainer = training(0.25, seen)
    trainer.run([1.0, 2.0, 4.0, 8.0], max_epochs=1)
    expected, value = [], None
    for n, new in enumerate((1.0, 2.0, 4.0, 8.0)):
        decay = min(0.25, (1 + n) / (10 + n))  # 0.1 would be of n = 0, whose value is taken as it is
        value = new if value is None else decay * value + (1 - decay) * new
        expected.append((pytest.approx(value), pytest.approx(10 * value), n + 1))
    assert seen == expected
    assert network[0].weight.item() == 8.0  # its own again


def test_it_goes_on_from_its_state():
    whole: list = []
    training(0.9, whole)[2].run([1.0, 2.0, 4.0, 8.0], max_epochs=1)
    parts: list = []
    _, average, trainer = training(0.9, parts)
    trainer.run([1.0, 2.0], max_epochs=1)
    network, again, trainer = training(0.9, parts, (4.0, 8.0))
    again.load_state_dict(average.state_dict())
    network[1].num_batches_tracked += 2
    trainer.run([4.0, 8.0], max_epochs=1)
    assert parts == whole


def test_wrong_decay():
    with pytest.raises(ValueError, match=r"decay: expected a number from 0 to below 1, found 1"):
        AveragedWeights(torch.nn.Linear(1, 1), Engine(lambda *_: None), 1.0)
