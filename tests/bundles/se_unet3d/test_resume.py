"""A training that was killed goes on where it was, to the same weights; a failed write costs no file."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from tests.bundles.runs import same, workflow
from tools.phantom import write_phantoms

ROOT = Path(__file__).resolve().parents[3]
BATCHES = 3  # per epoch: 2 cases of 5 patches, 4 to a batch


@pytest.fixture(scope="module")
def overrides(bundle, tmp_path_factory) -> dict[str, object]:
    root = tmp_path_factory.mktemp("resume")
    write_phantoms(root / "data", cases=3, seed=4, folds=3, shape=(64, 64, 20), spacing=(3.0, 3.0, 8.0))
    small = {"roi_size": [24, 24, 8], "patches_per_case": 5, "batch_size": 4, "max_epochs": 3}
    return {
        "dataset_dir": str(root / "data"),
        "cache_dir": str(root / "cache"),
        "input#symmetric": False,
        **small,
    }


def training(folder: Path, overrides: dict[str, object], **more: object) -> ConfigWorkflow:
    folders = {"ckpt_dir": folder, "output_dir": folder / "eval"}
    return workflow("train", "train.yaml", **overrides, **folders, **more)


def outcome(workflow: ConfigWorkflow) -> dict[str, object]:
    """All that a training leaves behind."""
    part = workflow.parser.get_parsed_content
    return {
        "network": part("network_def").state_dict(),
        "optimizer": part("optimizer").state_dict()["state"],
        "best": torch.load(Path(part("ckpt_dir")) / "model.pt", weights_only=True),
        "early_stop": part("early_stop").state_dict(),
        "epoch": part("train#trainer").state.epoch,
        "random": torch.get_rng_state(),
    }


@pytest.fixture(scope="module")
def uninterrupted(overrides, tmp_path_factory) -> dict[str, object]:
    workflow = training(tmp_path_factory.mktemp("whole"), overrides)
    workflow.run()
    return outcome(workflow)


def _train_and_die(folder: Path, overrides: dict[str, object], iteration: int, minutes: float) -> None:
    workflow = training(folder, overrides, save_minutes=minutes)
    workflow.parser.get_parsed_content("train#trainer").add_event_handler(
        Events.ITERATION_STARTED(once=iteration), lambda engine: os.kill(os.getpid(), signal.SIGKILL)
    )
    workflow.run()


def killed(folder: Path, overrides: dict[str, object], iteration: int, minutes: float = 60.0) -> int:
    """A training in a process of its own that is killed when an iteration starts; the iterations it saved."""
    # not forked: OpenMP's threads don't survive a fork, and the child would wait for them for ever
    arguments = json.dumps([str(folder), overrides, iteration, minutes])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([os.getcwd(), str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    child = subprocess.run(
        [sys.executable, __file__, arguments], env=environment, capture_output=True, text=True
    )
    assert child.returncode == -signal.SIGKILL, child.stderr[-2000:]
    return torch.load(folder / "training_state.pt", weights_only=True)["iteration"]


@pytest.mark.parametrize(
    ("iteration", "minutes", "saved"),
    [(BATCHES + 2, 60.0, BATCHES), (2 * BATCHES, 0.0, 2 * BATCHES - 1)],
    ids=["from-the-last-epoch", "from-within-an-epoch"],
)
def test_the_same_weights_after_a_kill(overrides, uninterrupted, tmp_path, iteration, minutes, saved):
    assert killed(tmp_path, overrides, iteration, minutes) == saved
    workflow = training(tmp_path, overrides)
    torch.rand(7)  # whatever was drawn meanwhile
    workflow.run()
    found = outcome(workflow)
    for part in uninterrupted:
        assert same(found[part], uninterrupted[part]), part
    assert not (tmp_path / "training_state.pt").exists()


def test_other_settings_are_refused_and_a_new_start_is_possible(overrides, uninterrupted, tmp_path):
    killed(tmp_path, overrides, BATCHES + 1)
    other = {"cases": 3, "seed": 5, "folds": 3, "shape": (64, 64, 20), "spacing": (3.0, 3.0, 8.0)}
    write_phantoms(tmp_path / "other", **other)  # heads of the same names
    for changed, name in (
        ({"sampling": "brain"}, "sampler mix"),
        ({"lesion_weight": 2.0}, "loss"),
        ({"optimizer#lr": 0.5}, "optimizer"),
        ({"amp": False}, "amp"),
        ({"dataset_dir": str(tmp_path / "other")}, "data"),
    ):
        with pytest.raises(RuntimeError) as raised:
            training(tmp_path, {**overrides, **changed}).run()
        cause = raised.value.__cause__
        assert f"{tmp_path / 'training_state.pt'}: expected the state" in str(cause)
        assert f"found another {name};" in str(cause)
    workflow = training(tmp_path, overrides, resume=False)
    workflow.run()
    assert same(outcome(workflow), uninterrupted)


def content(folder: Path) -> dict[str, bytes]:
    """What files hold, but for the lock, which a killed training leaves."""
    files = [path for path in folder.iterdir() if path.is_file() and path.name != ".lock"]
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.parametrize("shipped", [False, True])
def test_a_full_disk_costs_no_file(overrides, tmp_path, shipped):
    """The system refuses to write more than 1 MB: what was there stays, and nothing half written."""
    killed(tmp_path, overrides, BATCHES + 1)
    if shipped:
        settings = json.loads((tmp_path / "model.json").read_text())
        (tmp_path / "model.json").write_text(json.dumps({**settings, "shipped": True}))
    before = content(tmp_path)
    assert set(before) == {"model.pt", "model.json", "training_state.pt"}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    workflow = training(tmp_path, overrides)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(RuntimeError):
            workflow.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert content(tmp_path) == before


if __name__ == "__main__":  # the training that is killed
    folder, *rest = json.loads(sys.argv[1])
    _train_and_die(Path(folder), *rest)
