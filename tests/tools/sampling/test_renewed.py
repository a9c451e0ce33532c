"""Cases come and go as stated, and an interrupted training goes on with the same batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tools.core.errors import InputError
from tools.sampling.renewed import RenewedSampler

OPTIONS: dict[str, Any] = {
    "roi_size": (4, 4, 4), "mix": "brain", "patches_per_case": 5, "batch_size": 4, "progress": False,
}  # fmt: skip


class Counted:
    """Case n, whose voxels are all n + 1; remembers which were asked for."""

    def __init__(self) -> None:
        self.made: list[int] = []

    def __call__(self, index: int) -> dict[str, Any]:
        self.made.append(index)
        label = torch.zeros(1, 8, 8, 8)
        label[:, 3:5, 3:5, 3:5] = 1
        return {"image": torch.full((1, 8, 8, 8), float(index + 1)), "label": label}


def cases_of(batches: list[dict[str, torch.Tensor]]) -> set[int]:
    """Which cases the patches were cut from, by the voxels inside the volume."""
    values = torch.cat([batch["image"].flatten() for batch in batches]).unique()
    return {int(value) - 1 for value in values if value > 0}


def test_an_epoch_draws_from_its_pool_and_makes_each_case_once():
    made = Counted()
    sampler = RenewedSampler(made, pool=3, renewed=2, **OPTIONS)
    for epoch in range(4):
        batches = list(sampler)
        assert len(batches) == len(sampler) == 4  # 15 patches by 4
        assert cases_of(batches) == {2 * epoch, 2 * epoch + 1, 2 * epoch + 2}
    assert made.made == list(range(9))


def test_another_sampling_has_other_settings():
    """With which alone an interrupted training goes on."""
    one = RenewedSampler(Counted(), pool=3, renewed=2, **OPTIONS).settings
    assert one["pool"] == 3
    for change in ({"pool": 4}, {"renewed": 1}, {"mix": {"lesion": 1.0}}, {"roi_size": (4, 4, 2)}):
        assert RenewedSampler(Counted(), **{"pool": 3, "renewed": 2, **OPTIONS, **change}).settings != one


def test_cases_that_are_always_there():
    real = Counted()(99)
    sampler = RenewedSampler(Counted(), pool=3, renewed=2, always=[real], **OPTIONS)
    for epoch in range(3):
        batches = list(sampler)
        assert len(batches) == len(sampler) == 5  # 20 patches by 4
        assert cases_of(batches) == {2 * epoch, 2 * epoch + 1, 2 * epoch + 2, 99}


@pytest.mark.parametrize("taken", [0, 1, 3, 4])
def test_goes_on_where_it_was_interrupted(taken):
    whole = RenewedSampler(Counted(), pool=3, renewed=1, seed=5, **OPTIONS)
    expected = [batch for _ in range(3) for batch in whole]
    first = RenewedSampler(Counted(), pool=3, renewed=1, seed=5, **OPTIONS)
    before = list(first)
    batches = iter(first)
    before += [next(batches) for _ in range(taken)]
    made = Counted()
    second = RenewedSampler(made, pool=3, renewed=1, seed=5, **OPTIONS)
    second.load_state_dict(first.state_dict())
    after = [*second, *second] if taken < 4 else list(second)
    found = [*before, *after]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["label"], other["label"])


def test_an_epoch_that_was_left_early_is_followed_by_the_next():
    sampler = RenewedSampler(Counted(), pool=2, renewed=2, **OPTIONS)
    next(iter(sampler))
    assert cases_of(list(sampler)) == {2, 3}


@pytest.mark.parametrize("renewed", [0, 4])
def test_refuses_to_renew_more_cases_than_there_are(renewed):
    with pytest.raises(InputError, match="from 1 to 3"):
        RenewedSampler(Counted(), pool=3, renewed=renewed, **OPTIONS)
