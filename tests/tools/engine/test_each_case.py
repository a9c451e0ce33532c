"""A case that fails is named at the end; the results of the others are there."""

from __future__ import annotations

import errno
import os

import pytest
import torch
from monai.data import DataLoader
from monai.inferers import SimpleInferer

from tools.core.errors import InputError
from tools.engine.each_case import EachCaseDataset, EachCaseEvaluator


def read(item: dict) -> dict:
    """Text that is a number becomes an image."""
    if item["text"] == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "cache")
    if item["text"] == "closed":
        raise RuntimeError("applying transform") from PermissionError(
            errno.EACCES, "Permission denied", "c.nii"
        )
    try:
        return {"case": item["text"], "image": torch.full((1, 2, 2), float(item["text"]))}
    except ValueError as error:
        raise RuntimeError("applying transform") from InputError(
            f"{item['text']}: expected a number ({error})"
        )


class Inferer(SimpleInferer):
    """Fails on values from 100 on, as a network may for reasons of its own."""

    def __call__(self, inputs, network, *args, **kwargs):
        if inputs.max() >= 100:
            raise ZeroDivisionError("too large")
        return super().__call__(inputs, network)


def infer(*texts: str) -> list[float]:
    written: list[float] = []
    evaluator = EachCaseEvaluator(
        device="cpu",
        val_data_loader=DataLoader(EachCaseDataset([{"text": text} for text in texts], read), batch_size=1),
        network=torch.nn.Identity(),
        inferer=Inferer(),
        postprocessing=lambda item: written.append(float(item["pred"].mean())) or item,
    )
    try:
        evaluator.run()
    finally:
        infer.written = written
    return written


def test_all_are_well():
    assert infer("1", "2") == [1, 2]


def test_the_others_are_written(capsys):
    with pytest.raises(InputError) as error:
        infer("1", "two", "300", "4", "closed", "6")
    assert infer.written == [1, 4, 6]
    assert str(error.value) == (
        "3 of 6 cases failed: two: expected a number (could not convert string to float: 'two'); "
        "300: ZeroDivisionError: too large; "
        "c.nii: expected that it can be read or written, found: Permission denied"
    )
    assert capsys.readouterr().err.count("Traceback") == 1, "of what may be the program's fault"


def test_one_case_alone_says_its_line():
    with pytest.raises(InputError, match=r"^two: expected a number"):
        infer("two")


def test_a_full_disk_ends_the_run():
    with pytest.raises(RuntimeError, match="applying transform"):
        infer("1", "full", "3")
    assert infer.written == [1]
