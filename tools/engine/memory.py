"""A device without memory for a batch: smaller batches, and in the end the CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)
CPU = torch.device("cpu")


class FittingBatches:
    """Runs an inference with as many windows or slices at a time as fit, and remembers how many do.

    Args:
        size: that is tried first.
    """

    def __init__(self, size: int) -> None:
        self.size, self.on_cpu = size, False

    def run(
        self, infer: Callable[[int, torch.device], Tensor], network: object, device: torch.device
    ) -> Tensor:
        """What `infer` returns for the largest size that fits, half of the last one each time.

        Where a single one does not fit, the network goes to the CPU, for all that follows; one line says so.

        Args:
            infer: from a size and the device to compute on to the result.
            network: that `infer` uses; moved, if it is a module.
            device: of the inputs.

        Raises:
            torch.OutOfMemoryError: one at a time does not fit, on the CPU neither.
        """
        first, moved = self.size, False
        if self.on_cpu:
            device = CPU
        while True:
            if self.on_cpu and isinstance(network, nn.Module):
                network.to(CPU)
            try:
                result = infer(self.size, device)
                break
            except torch.OutOfMemoryError:
                if self.size == 1 and device.type == CPU.type:
                    raise
            # out of the handler, which holds all that had been computed
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            if self.size > 1:
                self.size //= 2
            else:
                self.size, device, self.on_cpu, moved = min(first, 8), CPU, True, True
        if moved:
            logger.warning("inference: out of memory with one at a time; the network runs on the CPU now")
        elif self.size < first:
            logger.warning("inference: out of memory with %d at a time; %d fit", first, self.size)
        return result
