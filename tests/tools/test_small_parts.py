"""Precision, spacing, the time limit, pictures and the command line."""

from __future__ import annotations

import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.engines import SupervisedTrainer
from monai.handlers import from_engine
from torch.utils.tensorboard import SummaryWriter

from tools.__main__ import COMMANDS, main
from tools.checkpoint import TrainingState
from tools.errors import InputError
from tools.flags import is_true
from tools.handlers import ListedOutput, TimeLimitHandler
from tools.precision import autocast_dtype, with_precision
from tools.report import OverlayCase, learning_curve_picture, overlay_picture, read_scalars
from tools.spacing import ResampleSpacingd


@pytest.mark.parametrize("amp", [True, False])
def test_precision_keeps_weights_and_output_in_float32(device, amp):
    torch.manual_seed(0)
    plain = torch.nn.Sequential(
        torch.nn.Conv3d(2, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(4, 2, 1)
    )
    x = torch.randn(2, 2, 8, 8, 8)
    expected = plain(x)
    network = with_precision(plain, device, amp)
    result = network(x.to(device))
    assert result.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in network.parameters())
    assert torch.allclose(result.cpu(), expected, atol=5e-2 if amp else 1e-5)  # bfloat16 has 8 bits
    result.sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert list(network.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_patches_with_wrong_gradients_are_refused():
    """Two voxels in the first direction: bfloat16 gradients on a CPU are garbage there, float32 is not."""
    x = torch.randn(1, 1, 2, 4, 4)
    training = with_precision(torch.nn.Conv3d(1, 2, 3, padding=1), "cpu", True)
    with pytest.raises(InputError, match="roi_size"):
        training(x)
    with torch.no_grad():
        assert training(x).shape == (1, 2, 2, 4, 4)
    with_precision(torch.nn.Conv3d(1, 2, 3, padding=1), "cpu", False)(x).sum().backward()


def test_precision_choice():
    assert autocast_dtype("cpu", False) is None
    assert autocast_dtype("cpu", True) is torch.bfloat16
    assert autocast_dtype("cpu", "auto") in (None, torch.bfloat16)


def test_spacing_survives_entries_that_monai_label_adds():
    image = MetaTensor(torch.rand(1, 8, 8, 4), affine=torch.diag(torch.tensor([1.0, 1.0, 5.0, 1.0])))
    item = {"image": image, "image_path": "scan.nii.gz", "image_id": 7}
    out = ResampleSpacingd("image", pixdim=(2.0, 2.0, 5.0))(item)
    assert out["image"].pixdim.tolist() == [2, 2, 5]
    assert (out["image_path"], out["image_id"]) == ("scan.nii.gz", 7)
    assert ResampleSpacingd("image", pixdim=None)(item)["image"] is image


def test_spacing_inverse_restores_the_grid():
    image = MetaTensor(torch.rand(1, 9, 8, 4), affine=torch.diag(torch.tensor([1.0, 1.0, 5.0, 1.0])))
    resample = ResampleSpacingd("image", pixdim=(2.0, 2.0, 5.0))
    back = resample.inverse(resample({"image": image}))["image"]
    assert back.shape == image.shape
    assert torch.allclose(back.affine, image.affine)


def test_time_limit_ends_training():
    engine = Engine(lambda engine, batch: time.sleep(0.25))
    TimeLimitHandler(limit_sec=1).attach(engine)
    engine.run(range(40), max_epochs=5)
    assert 4 <= engine.state.iteration <= 7


def test_pictures(tmp_path):
    image = torch.full((1, 40, 40, 6), -1000.0)
    image[:, 5:35, 5:35] = 40
    pred = torch.zeros_like(image)
    pred[:, 10:15, 10:15, 3] = 1
    cases = [OverlayCase("found", image, pred, pred), OverlayCase("nothing", image, torch.zeros_like(pred))]
    picture = overlay_picture(cases, tmp_path / "overlay.png", columns=3)
    assert picture.read_bytes().startswith(b"\x89PNG")
    with SummaryWriter(tmp_path / "logs") as writer:
        for step in range(5):
            writer.add_scalar("train_loss", 1 / (step + 1), step)
    steps, values = read_scalars(tmp_path / "logs")["train_loss"]
    assert steps.tolist() == [0, 1, 2, 3, 4]
    assert values == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert learning_curve_picture(tmp_path / "logs", tmp_path / "curve.png").exists()
    with pytest.raises(InputError, match="train_loss"):
        learning_curve_picture(tmp_path, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_patients_right_is_on_the_left_of_the_picture(tmp_path):
    """A bright block at the patient's right (high x in RAS) and front (high y)."""
    import matplotlib.image

    image = torch.full((1, 40, 40, 3), -1000.0)
    image[:, 2:38, 2:38] = 0
    image[:, 30:36, 30:36] = 80
    overlay_picture([OverlayCase("", image, torch.zeros_like(image))], tmp_path / "a.png", columns=1)
    pixels = matplotlib.image.imread(tmp_path / "a.png")[..., :3].min(axis=2)
    rows, columns = np.nonzero(pixels[40:-60] > 0.99)
    assert columns.mean() < pixels.shape[1] / 2
    assert rows.mean() < (pixels.shape[0] - 100) / 2


def test_command_line_makes_phantoms(tmp_path):
    command = [sys.executable, "-m", "tools", "phantom", "--out", str(tmp_path / "p"), "--cases", "1"]
    subprocess.run([*command, "--shape", "32,32,8", "--spacing", "6,6,20", "--folds", "1"], check=True)
    assert nib.load(tmp_path / "p" / "images" / "case_000.nii.gz").shape == (32, 32, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "expected one of"),
        (["phantom", "--out", "x", "--cases", "0"], "error: cases: expected"),
    ],
)
def test_command_line_errors_are_one_line(capsys, arguments, message):
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1


def test_help_lists_the_commands(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize(
    ("word", "expected"), [("false", False), ("True", True), ("off", False), (False, False), (None, False)]
)
def test_switches_of_the_command_line(word, expected):
    assert is_true(word) is expected


def test_word_that_is_no_switch():
    with pytest.raises(InputError, match="amp: expected true or false, found 'fp16'"):
        autocast_dtype("cpu", "fp16")
    assert autocast_dtype("cpu", "false") is None


def test_resume_false_does_not_read_the_state(tmp_path):
    def run(resume):
        (tmp_path / "state.pt").write_bytes(b"no state")
        engine = Engine(lambda engine, batch: None)
        TrainingState(tmp_path / "state.pt", {"network": torch.nn.Linear(1, 1)}, resume=resume).attach(engine)
        engine.run([0], max_epochs=1)

    run("false")
    with pytest.raises(InputError, match=r"state\.pt: expected the state of an interrupted training"):
        run("true")


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
        train_handlers=[ListedOutput()],
    )
    read = from_engine(["loss"], first=True)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: seen.append(read(engine.state.output))
    )
    trainer.run()
    expected = (network(torch.ones(1, 1)) ** 2).item()
    assert float(seen[0]) == pytest.approx(expected)
