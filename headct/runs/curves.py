"""Learning curves from TensorBoard files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tools.core.errors import InputError
from tools.report.plots import save_figure

__all__ = ["learning_curve_picture", "read_scalars"]


def learning_curve_picture(log_dir: str | Path, path: str | Path) -> Path:
    """Training loss and validation Dice by epoch, from the TensorBoard files of a bundle's training.

    Args:
        log_dir: folder that training wrote its TensorBoard files to.
        path: PNG file to write.

    Raises:
        InputError: there are no such files or no losses in them.
    """
    curves = read_scalars(log_dir)
    if "train_loss" not in curves:
        raise InputError(f"{log_dir}: expected TensorBoard files with `train_loss`, found {sorted(curves)}")
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps, values = curves["train_loss"]
    left.plot(steps, values, color="#bbbbbb", linewidth=0.8, label="each batch")
    width = max(1, len(values) // 40)
    smooth = np.convolve(values, np.ones(width) / width, mode="valid")
    left.plot(steps[width - 1 :], smooth, color="#1f5fbf", label=f"mean of {width}")
    left.set(xlabel="batch", ylabel="loss (Dice + cross-entropy)", title="training")
    left.legend(frameon=False)
    if "val_mean_dice" in curves:
        right.plot(*curves["val_mean_dice"], marker="o", color="#c0392b")
    right.set(xlabel="epoch", ylabel="mean Dice", title="validation", ylim=(0, 1))
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    return save_figure(figure, path, dpi=110)


def read_scalars(log_dir: str | Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """All scalar curves of the TensorBoard files in `log_dir`: tag -> (steps, values).

    Of a step that an interrupted training did again, the last value.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: dict[str, list[tuple[float, int, float]]] = {}
    for file in sorted(Path(log_dir).glob("events.out.tfevents.*")):
        events = EventAccumulator(str(file), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            found.setdefault(tag, []).extend((e.wall_time, e.step, e.value) for e in events.Scalars(tag))
    curves = {tag: {step: value for _, step, value in sorted(points)} for tag, points in found.items()}
    return {tag: tuple(np.array(sorted(curve.items())).T) for tag, curve in curves.items()}
