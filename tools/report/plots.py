"""Plots of a report, as PNG files. matplotlib is imported only here, without its global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.core.files import replacing
from tools.metrics.pr_curve import PrecisionRecallCurve
from tools.metrics.volume import bland_altman


def _figure(xlabel: str, ylabel: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    return figure, axes


def save_figure(figure: Any, path: str | Path, dpi: int = 150) -> Path:
    """Write a matplotlib figure as PNG, in its own colours, in one step."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format="png", facecolor="auto")
    return Path(path)


def plot_pr_curve(curve: PrecisionRecallCurve, path: str | Path) -> Path:
    """Precision over recall; the point of threshold 0.5 is marked."""
    figure, axes = _figure("recall", "precision")
    axes.plot(curve.recall, curve.precision, label=f"area {curve.area:.3f}")
    half = len(curve.thresholds) // 2
    axes.plot(curve.recall[half], curve.precision[half], "o", label="threshold 0.5")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01), title="Precision-recall, all voxels of the set")
    axes.legend()
    return save_figure(figure, path)


def plot_bland_altman(predicted_ml: Sequence[float], true_ml: Sequence[float], path: str | Path) -> Path:
    """Difference of the volumes over their mean, with bias and limits of agreement."""
    agreement = bland_altman(predicted_ml, true_ml)
    pairs = list(zip(predicted_ml, true_ml, strict=True))
    figure, axes = _figure("mean of predicted and true volume (mL)", "predicted - true volume (mL)")
    axes.plot([(p + t) / 2 for p, t in pairs], [p - t for p, t in pairs], "o", alpha=0.6)
    axes.axhline(agreement["bias_ml"], color="black", label=f"bias {agreement['bias_ml']:.2f} mL")
    if agreement["sd_ml"] is not None:
        for limit in ("lower_limit_ml", "upper_limit_ml"):
            axes.axhline(agreement[limit], color="black", linestyle="--", label=f"{agreement[limit]:.2f} mL")
    axes.set_title("Bland-Altman")
    axes.legend()
    return save_figure(figure, path)
