"""Slices cut into overlapping windows, and put together again from the windows' probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional

from tools.core.errors import InputError
from tools.engine.slices import SliceProbabilityInferer, probabilities

__all__ = ["WindowInferer", "WindowedNetwork", "check_stride", "cut_windows", "merge_windows"]


def cut_windows(image: torch.Tensor, size: int = 160, stride: int = 80) -> torch.Tensor:
    """Windows on a regular grid; 49 of 160x160 pixels, 80 apart, for a slice of 640x640 (Hssayeni 2020).

    Convention: row by row; window (i, j) of the grid begins at pixel (i * stride, j * stride).

    Args:
        image: (B, C, H, W); H and W must be `size` and a multiple of `stride`.

    Returns:
        (B * windows, C, size, size), the windows of an image one after another; a copy.

    Raises:
        ValueError: the windows do not cover the image exactly.
    """
    _check_grid(tuple(image.shape[2:]), size, stride)
    windows = image.unfold(2, size, stride).unfold(3, size, stride)  # (B, C, rows, columns, size, size)
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


def merge_windows(windows: torch.Tensor, shape: tuple[int, int], stride: int = 80) -> torch.Tensor:
    """Mean over the windows that a pixel lies in: the reverse of `cut_windows`.

    Args:
        windows: (B * windows, C, size, size), square.
        shape: H and W of the images.

    Returns:
        (B, C, H, W), in the dtype of the windows.

    Raises:
        ValueError: the windows do not cover the images exactly, or are not a whole number of images.
    """
    channels, size = windows.shape[1], windows.shape[2]
    count = _check_grid(shape, size, stride)
    if len(windows) % count:
        raise ValueError(f"windows must be a multiple of {count} for {shape}, got {len(windows)}")
    columns = windows.reshape(-1, count, channels * size * size).transpose(1, 2)
    total = functional.fold(columns, shape, size, stride=stride)
    ones = torch.ones(1, size * size, count, dtype=windows.dtype, device=windows.device)
    return total / functional.fold(ones, shape, size, stride=stride)


class WindowedNetwork(nn.Module):
    """A network that was trained on windows, for whole slices: cut, predict, average the probabilities.

    It returns logits of the mean probabilities, so that it can stand where any network of the bundle does.
    Slices that the grid of windows does not cover exactly are padded with zeros at the end of both axes, and
    what was padded is cut off again. Slices of a window's size go to the network as they are.

    Args:
        network: (N, C, size, size) -> logits (N, classes, size, size).
        size: side of the windows in pixels.
        stride: pixels between windows.
        batch_size: windows that the network gets at once.
    """

    def __init__(
        self,
        network: Callable[[torch.Tensor], torch.Tensor],
        size: int = 160,
        stride: int = 80,
        batch_size: int = 49,
    ) -> None:
        super().__init__()
        self.network = network
        self.size, self.stride, self.batch_size = size, stride, batch_size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: in shape (batch, channels, height, width).
        """
        height, width = x.shape[2:]
        if (height, width) == (self.size, self.size):
            return self.network(x)
        extra = [max(self.size - n, -(n - self.size) % self.stride) for n in (height, width)]
        padded = functional.pad(x, (0, extra[1], 0, extra[0]))
        windows = cut_windows(padded, self.size, self.stride).split(self.batch_size)
        probability = torch.cat([probabilities(self.network(part).float()) for part in windows])
        merged = merge_windows(probability, (height + extra[0], width + extra[1]), self.stride)
        merged = merged[..., :height, :width]
        return torch.logit(merged, eps=1e-6) if merged.shape[1] == 1 else merged.clamp_min(1e-6).log()


class WindowInferer(SliceProbabilityInferer):
    """`SliceProbabilityInferer` whose network sees windows of the slices, see `WindowedNetwork`.

    Args:
        size, stride: of the windows, in pixels.
        sw_batch_size: windows per call of the network.
        progress: show a progress bar.

    Raises:
        InputError: see `check_stride`.
    """

    def __init__(
        self, size: int = 160, stride: int = 80, sw_batch_size: int = 49, progress: bool = False
    ) -> None:
        check_stride(size, stride)
        super().__init__(sw_batch_size, progress)
        self.size, self.stride = size, stride

    def split(self, slices: torch.Tensor, count: int) -> Sequence[torch.Tensor]:
        """One at a time, of which `count` windows are."""
        return slices.split(1)

    def logits(
        self, network: Callable[[torch.Tensor], torch.Tensor], slices: torch.Tensor, count: int
    ) -> torch.Tensor:
        """Of whole slices."""
        return WindowedNetwork(network, self.size, self.stride, count)(slices)


def check_stride(size: int, stride: int) -> None:
    """Raise InputError for windows with gaps between them."""
    if stride > size:
        raise InputError(
            f"window_stride: expected at most the window_size of {size}, or there are gaps, found {stride}"
        )


def _check_grid(shape: tuple[int, ...], size: int, stride: int) -> int:
    """Number of windows of an image, or ValueError."""
    if any(n < size or (n - size) % stride for n in shape):
        raise ValueError(
            f"height and width must be {size} and a multiple of {stride} for windows of {size} x {size}, "
            f"got {shape}"
        )
    rows, columns = ((n - size) // stride + 1 for n in shape)
    return rows * columns
