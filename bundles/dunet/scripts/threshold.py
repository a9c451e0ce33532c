"""The threshold baseline of Hssayeni 2020 in the shape of a network, so that the bundle can run it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from scripts.threshold_search import best_thresholds, grey_histograms
from tools.core.errors import InputError
from tools.core.tensors import plain
from tools.engine.checkpoint import ReplacingSaver, weights_settings

__all__ = ["ThresholdNetwork", "fit_thresholds"]


class ThresholdNetwork(nn.Module):
    """Hemorrhage is what lies between two grey values.

    Args:
        lower, upper: lowest and highest grey value (0 to 255) of hemorrhage; the defaults are the paper's.
    """

    def __init__(self, lower: int = 140, upper: int = 230) -> None:
        super().__init__()
        self.register_buffer("thresholds", torch.tensor([float(lower), float(upper)]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: brain window as 0 to 1, in shape (batch, channels, height, width); the first channel counts.

        Returns:
            logits of 10 and -10 in shape (batch, 1, height, width).
        """
        grey = (x[:, :1] * 255).round()
        inside = (grey >= self.thresholds[0]) & (grey <= self.thresholds[1])
        return inside.to(x) * 20 - 10


def fit_thresholds(cases: Iterable[Mapping[str, Any]], path: str | Path) -> dict[str, float]:
    """Grid search on training cases; the thresholds become the weights file of a `ThresholdNetwork`.

    Args:
        cases: preprocessed cases, `image` (C, X, Y, Z) in 0 to 1 and `label` (1, X, Y, Z).
        path: weights file to write.

    Returns:
        the thresholds and their training Jaccard index, the mean over slices with hemorrhage.

    Raises:
        InputError: no case has a slice with hemorrhage.
    """
    histograms = []
    for case in tqdm(cases, desc="histograms", unit="case"):
        image, label = plain(case["image"]), plain(case["label"])
        lesion = label[0].movedim(-1, 0) > 0
        shows = lesion.flatten(1).any(1)
        if shows.any():
            grey = (image[0].movedim(-1, 0)[shows] * 255).round().clamp(0, 255).to(torch.uint8)
            histograms.append(grey_histograms(grey, lesion[shows]))
    if not histograms:
        raise InputError("threshold: expected training cases with hemorrhage, found none")
    found = best_thresholds(torch.cat(histograms))
    network = ThresholdNetwork(found.lower, found.upper)
    path = Path(path)
    if weights_settings(path).get("shipped"):  # weights that came with the bundle are not lost
        for file in (path, path.with_suffix(".json")):
            file.replace(file.with_stem("original"))
    ReplacingSaver(path.parent)(network.state_dict(), path.name)
    print(f"thresholds {found.lower} to {found.upper}, training Jaccard {found.jaccard:.3f}")
    return {"lower": found.lower, "upper": found.upper, "jaccard": found.jaccard}
