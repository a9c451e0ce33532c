"""Inference where memory ends: the same result, fewer at a time, one line in the log."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn

from tools.engine.memory import FittingBatches
from tools.engine.slices import SliceProbabilityInferer


class Small(nn.Module):
    """A network whose device has memory for a few of a batch."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.conv, self.most, self.sizes = nn.Conv2d(1, 2, 1), most, []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return self.conv(x)


def test_fewer_at_a_time_give_the_same(caplog):
    image = torch.rand(1, 1, 24, 24, 24)
    small, large = Small(3), Small(1000)
    large.load_state_dict(small.state_dict())
    tight = SliceProbabilityInferer(16)
    with caplog.at_level(logging.WARNING):
        found = tight(image, small)
    assert [record.getMessage() for record in caplog.records] == [
        "inference: out of memory with 16 at a time; 2 fit"
    ]
    torch.testing.assert_close(found, SliceProbabilityInferer(16)(image, large))
    small.sizes.clear()
    tight(image, small)
    assert max(small.sizes) == 2  # remembered for the next scan


def test_where_one_does_not_fit_the_cpu_computes(caplog):
    """No GPU is needed: the devices are names here, and memory ends on one of them."""
    tried = []

    def infer(size: int, device: torch.device) -> Tensor:
        tried.append((size, device.type))
        if device.type == "cuda":
            raise torch.OutOfMemoryError("out of memory")
        return torch.ones(1)

    fitting, network = FittingBatches(4), nn.Linear(1, 1)
    with caplog.at_level(logging.WARNING):
        assert fitting.run(infer, network, torch.device("cuda")) == 1
    assert tried == [(4, "cuda"), (2, "cuda"), (1, "cuda"), (4, "cpu")]
    assert len(caplog.records) == 1
    assert "runs on the CPU now" in caplog.records[0].getMessage()
    tried.clear()
    fitting.run(infer, network, torch.device("cuda"))
    assert tried == [(4, "cpu")]


def test_memory_that_is_too_small_anyway_is_an_error():
    def infer(size: int, device: torch.device) -> Tensor:
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        FittingBatches(4).run(infer, None, torch.device("cpu"))
