"""What every benchmark prints: the machine, a table, and the same rows as JSON."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch


def machine() -> str:
    """One line that names processor, threads, GPU and torch version."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        text = cpuinfo.read_text()
        names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
        name = (names[0] if names else name) + (" (AVX512-BF16)" if "avx512_bf16" in text else "")
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{name}, {cores}{gpu}, torch {torch.__version__}"


def synchronize(device: torch.device | str) -> None:
    """Wait for the device's queue, so that a host clock may be read."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def seconds(function: Callable[[], Any], repeats: int = 3, device: torch.device | str = "cpu") -> float:
    """Median wall-clock seconds of `function` over `repeats` calls, after one warm-up call."""
    function()
    times = []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        function()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown table of the rows; columns in the order of their first appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))

    def cell(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(row.get(column, "")) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def report(name: str, rows: Sequence[dict[str, Any]], out: str | None = None) -> None:
    """Print the table with the machine it ran on; write the same as JSON to `out` if given."""
    print(f"\n{name}, on {machine()}\n\n{table(rows)}\n")
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        content = {"name": name, "machine": machine(), "rows": list(rows)}
        Path(out).write_text(json.dumps(content, indent=2) + "\n")
