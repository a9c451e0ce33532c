"""Where a cohort lies while it is sampled: all of it on the device, or chunk after chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import torch

from tools.core.errors import InputError
from tools.sampling.patches import GatherBank, HostBuffers, SliceBank, StoredVolume

Bank = SliceBank | GatherBank


@dataclass
class BankFactory:
    """Puts volumes on the device, for patches of size (rx, ry, rz) with `background` outside the volumes.

    Args:
        gather, threads: see `tools.sampling.settings.CohortStorage`.
        buffers: where the patches go on a CPU.
    """

    roi_size: tuple[int, int, int]
    background: float
    device: torch.device
    gather: str = "auto"
    threads: int | None = None
    buffers: HostBuffers = field(default_factory=HostBuffers)

    def __post_init__(self) -> None:
        if self.gather == "slices" and self.device.type != "cpu":
            raise InputError(f"gather: slices expects the device cpu, found {self.device}")

    def __call__(self, volumes: Sequence[StoredVolume]) -> Bank:
        if self.gather == "vectorised" or self.device.type != "cpu":
            return GatherBank(volumes, self.roi_size, self.background, self.device)
        threads = self.threads or min(4, torch.get_num_threads())
        return SliceBank(volumes, self.roi_size, self.background, self.buffers, threads)


class ResidentCohort:
    """The whole cohort on the device."""

    chunk = None

    def __init__(self, volumes: Sequence[StoredVolume], make: BankFactory) -> None:
        self._bank = make(volumes)
        self.device_bytes = sum(volume.nbytes for volume in volumes)

    def banks(self, chunks: Sequence[Sequence[int]]) -> Iterator[Bank]:
        """The one bank that holds every case."""
        for _ in chunks:
            yield self._bank


class StreamedCohort:
    """Chunks of a cohort, the next of which is copied to the device while one is sampled.

    Args:
        volumes: the cases, in host memory.
        make: puts a chunk on the device.
        budget: bytes on the device; two chunks fit in.
    """

    def __init__(self, volumes: Sequence[StoredVolume], make: BankFactory, budget: int) -> None:
        largest = max(volume.nbytes for volume in volumes)
        self.chunk = budget // 2 // largest
        if self.chunk < 1:
            raise InputError(
                f"budget_gb: expected room for two cases, {2 * largest / 1e9:.3g}, found {budget / 1e9:.3g}"
            )
        self.device_bytes = 2 * self.chunk * largest
        self._make = make
        self._cuda = make.device.type == "cuda"
        self._volumes = [_pinned(volume) for volume in volumes] if self._cuda else list(volumes)
        self._stream = torch.cuda.Stream(make.device) if self._cuda else None

    def banks(self, chunks: Sequence[Sequence[int]]) -> Iterator[Bank]:
        """One bank per chunk; drop it before asking for the next, or three are held."""
        if not chunks:
            return
        with ThreadPoolExecutor(1, "next chunk") as loader:
            ahead = loader.submit(self._load, chunks[0])
            for following in [*chunks[1:], None]:
                bank = ahead.result()
                if following is not None:
                    ahead = loader.submit(self._load, following)
                yield bank
                del bank

    def _load(self, cases: Sequence[int]) -> Bank:
        volumes = [self._volumes[case] for case in cases]
        if self._stream is None:
            copies = [replace(v, image=v.image.clone(), label=v.label.clone()) for v in volumes]
            return self._make(copies)
        with torch.cuda.stream(self._stream):
            bank = self._make(volumes)
        self._stream.synchronize()
        for tensor in bank.tensors():  # type: ignore[union-attr]
            tensor.record_stream(torch.cuda.default_stream(self._make.device))
        return bank


def _pinned(volume: StoredVolume) -> StoredVolume:
    return replace(volume, image=volume.image.pin_memory(), label=volume.label.pin_memory())
