"""Pictures of results: outlines over slices, and learning curves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.tensorboard import SummaryWriter

from headct.runs.curves import learning_curve_picture, read_scalars
from headct.scores.overlay import OverlayCase, overlay_picture
from tools.core.errors import InputError


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
