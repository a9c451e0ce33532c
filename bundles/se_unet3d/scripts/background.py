"""An image that says by itself where its foreground is, as MONAI Label hands over no mask beside it.

Skull stripping sets all but the brain to one value, the background. `mark_foreground` sees to it that no
voxel of the brain holds that value by chance, `foreground` finds the brain by it.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["BACKGROUND", "MARK", "foreground", "mark_foreground"]

BACKGROUND = 0.0
MARK = 1e-6
"""What a voxel of the foreground holds instead of `BACKGROUND`; half precision still tells them apart."""


def foreground(image: Tensor, background: float = BACKGROUND) -> Tensor:
    """Where the first channel of an image (C, spatial...) is not background; bool (spatial...)."""
    return image[0] != background


def mark_foreground(image: Tensor, mask: Tensor) -> Tensor:
    """The image with `MARK` where the first channel holds `BACKGROUND` within the mask.

    Args:
        image: in shape (C, spatial...), already `BACKGROUND` outside the mask.
        mask: in shape (1, spatial...), not 0 in the foreground.
    """
    hidden = (mask != 0) & (image[:1] == BACKGROUND)
    rest = torch.zeros_like(hidden).expand(image.shape[0] - 1, *hidden.shape[1:])
    return image.masked_fill(torch.cat([hidden, rest]), MARK)
