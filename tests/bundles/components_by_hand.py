"""A label map whose components were counted by hand."""

from __future__ import annotations

import torch

__all__ = ["components"]


def components() -> torch.Tensor:
    """Components of 200, 20, 19 and 1 voxels."""
    label = torch.zeros(1, 30, 30, 12, dtype=torch.uint8)
    label[0, 0:10, 0:10, 0:2] = 1  # 200
    label[0, 15:20, 0:4, 5] = 1  # 20: exactly 10 %
    label[0, 25, 0:19, 8] = 1  # 19
    label[0, 29, 29, 11] = 1  # 1
    return label
