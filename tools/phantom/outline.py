"""What a reader outlines of the blood in a scan: not what bone hides."""

from __future__ import annotations

from torch import Tensor

__all__ = ["DENSEST_HU", "outlined"]

DENSEST_HU = 130.0
"""No clot is as dense as that in a scan, with its noise and the bright rim inside the skull: bone is."""


def outlined(label: Tensor, image: Tensor, densest: float = DENSEST_HU) -> Tensor:
    """A label that ends where the scan is denser than any blood.

    The truth of a synthetic head is where blood is. Beside the skull a voxel may hold blood and yet be as
    bright as bone, which is blurred into it. A network is told
    to call these hemorrhage, of which a reader would outline none.

    Args:
        label: (1, X, Y, Z) class values, 0 is background.
        image: (1, X, Y, Z) HU.
        densest: HU above which no voxel is hemorrhage.

    Example:
        >>> outlined(torch.tensor([1, 1, 0]), torch.tensor([60.0, 300.0, 300.0]))
        tensor([1, 0, 0])
    """
    return label.masked_fill(image > densest, 0)
