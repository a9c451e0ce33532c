"""How much one input may take: what a small file unpacks to is found out before it fills the memory.

`HEADCT_MAX_GB` in the environment is the memory in GB that one file, or one window of a network, may take.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import torch

from tools.core.errors import InputError

VARIABLE = "HEADCT_MAX_GB"
GB = 10**9
FILE_GB = 4.0  # a head of 512 x 512 x 1000 voxels takes 1.6
FREE_BYTES = 64 * 2**20  # that a packed file may grow to, however well it is packed
MOST_GROWTH = 60  # times its size beyond that; CT packs to a half or a third, air and padding better


def max_bytes(default_gb: float = FILE_GB) -> float:
    """The limit in bytes: what the user allows (`InputError` unless a number above 0), or the default."""
    text = os.environ.get(VARIABLE, "").strip()
    try:
        limit = float(text or default_gb)
    except ValueError:
        limit = -1.0
    if not limit > 0:
        raise InputError(f"{VARIABLE}: expected a number of GB above 0, found {text!r}")
    return limit * GB


def device_bytes(device: Any) -> float:
    """The memory of a device, or what the user allows; all but CUDA share the memory of the machine."""
    device = torch.device(device)
    if device.type == "cuda":
        return max_bytes(torch.cuda.get_device_properties(device).total_memory / GB)
    if not hasattr(os, "sysconf"):  # Windows
        return max_bytes(float("inf"))
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        if Path(file).is_file() and (text := Path(file).read_text().strip()).isdecimal():
            there = min(there, int(text))
    return max_bytes(there / GB)


def check_file(path: str | Path, name: str | Path | None = None) -> None:
    """Raise `InputError` where a path is something else than a file with an end: a pipe would wait for ever.

    What does not exist is left to the reader. Messages call the file `name`, or by its path.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
        raise InputError(f"{path if name is None else name}: expected a file, found {kind}")


def check_size(needed: float, name: str | Path) -> None:
    """Raise `InputError` where reading a file would take more bytes of memory than one may."""
    if needed > max_bytes():
        raise InputError(
            f"{name}: expected a file that takes at most {in_gb(max_bytes())} of memory, found "
            f"{in_gb(needed)} ({VARIABLE} raises the limit)"
        )


def check_growth(unpacked: float, packed: float, name: str | Path) -> None:
    """Raise `InputError` where a packed file would grow beyond all likelihood.

    `unpacked` and `packed` are its bytes, as its header promises or as counted so far.
    """
    limit = max(FREE_BYTES, MOST_GROWTH * packed) if not os.environ.get(VARIABLE) else max_bytes()
    if unpacked > limit:
        raise InputError(
            f"{name}: expected a file that grows at most {MOST_GROWTH} times, found {in_gb(packed)} that "
            f"become {in_gb(unpacked)} or more ({VARIABLE} raises the limit)"
        )


def in_gb(size: float) -> str:
    """Bytes as messages show them."""
    return f"{size / GB:.1f} GB" if size >= GB / 10 else f"{size / 10**6:.1f} MB"
