"""Two processes, each with a part of the cases, find what one process finds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from ignite.engine import Engine
from monai.data import MetaTensor

from tools.metrics import LocationAccuracyMetric
from tools.report.handler import SegmentationReport

AFFINE = torch.diag(torch.tensor([0.5, 0.5, 5.0, 1.0], dtype=torch.float64))


def cases() -> list[dict]:
    """Five cases; the last has no lesion."""
    generator = torch.Generator().manual_seed(3)
    truth = torch.rand(5, 1, 9, 8, 5, generator=generator) < 0.05
    truth[4] = False
    prob = (0.6 * torch.rand(truth.shape, generator=generator) + 0.3 * truth).clamp(0, 1)
    return [
        {
            "case": f"case_{i}",
            "ivh": i % 2 == 0,
            "label": MetaTensor(truth[i].float(), affine=AFFINE),
            "prob": prob[i],
            "pred": (prob[i] >= 0.5).float(),
        }
        for i in range(5)
    ]


def evaluate(items: list[dict], folder: Path) -> dict:
    """All metrics over the items of this process, and the report of all processes."""
    location = LocationAccuracyMetric()
    for item in items:
        location(item["pred"][None], item["label"][None])
    engine = Engine(lambda engine, batch: batch)
    SegmentationReport(folder, prob_key="prob").attach(engine)
    engine.run([[item] for item in items])
    return {
        "location": float(location.aggregate()),
        "logged": engine.state.metrics,
    }


def evaluate_part(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(evaluate(cases()[rank::2], Path(folder) / "two"), f"{folder}/rank_{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    mp.spawn(evaluate_part, args=(str(tmp_path),), nprocs=2)  # three cases on one rank, two on the other
    expected = evaluate(cases(), tmp_path / "one")
    for rank in range(2):
        assert torch.load(tmp_path / f"rank_{rank}.pt") == expected
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert len(names) == 8
    for name in names:
        if not name.endswith(".png"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
