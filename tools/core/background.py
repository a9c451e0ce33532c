"""An image that says by itself where its foreground is: where it differs from the background's value.

Skull stripping sets all but the brain to one value, the background. MONAI Label hands over the image alone;
what finds the brain in it relies on no voxel of the brain holding that value by chance. `mark_foreground`
sees to that, `foreground` reads it.
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

    Returns:
        an image of the same type, of which `foreground` is the mask.
    """
    hidden = (mask != 0) & (image[:1] == BACKGROUND)
    rest = torch.zeros_like(hidden).expand(image.shape[0] - 1, *hidden.shape[1:])
    return image.masked_fill(torch.cat([hidden, rest]), MARK)
