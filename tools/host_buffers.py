"""Host memory that is used again: fresh pages cost more than the patches that are copied into them."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class HostBuffers:
    """Tensors on pooled memory. Memory is handed out again only when no tensor refers to it any more.

    Example:
        >>> buffers = HostBuffers()
        >>> buffers.take((2, 3), torch.float16).shape
        torch.Size([2, 3])
    """

    def __init__(self) -> None:
        self._pool: list[np.ndarray] = []

    def take(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Uninitialised contiguous tensor of the given shape and dtype."""
        count = math.prod(shape) * dtype.itemsize
        for index in range(len(self._pool)):
            # 2 references are the pool's and the call's. A tensor and its views hold one more until freed.
            if self._pool[index].nbytes >= count and sys.getrefcount(self._pool[index]) <= 2:
                break
        else:
            index = len(self._pool)
            self._pool.append(np.empty(count, dtype=np.uint8))
        return torch.from_numpy(self._pool[index][:count]).view(dtype).view(*shape)
