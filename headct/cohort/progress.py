"""The bar over cases: how many a minute, and how long it still takes."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

__all__ = ["CaseBar"]


class CaseBar(tqdm):
    """tqdm in cases per minute.

    Args:
        total: number of cases.
        desc: what they are.
        unit: what one is called.
        shown: False shows nothing.
    """

    def __init__(self, total: int, desc: str = "cases", unit: str = "case", shown: bool = True) -> None:
        super().__init__(
            total=total,
            desc=desc,
            unit=unit,
            disable=not shown,
            smoothing=0.1,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}, {remaining} left, "
            "{per_minute}{postfix}]",
        )

    def more(self, cases: int) -> None:
        """There are so many more than was thought, or fewer."""
        self.total = (self.total or 0) + cases

    @property
    def format_dict(self) -> dict[str, Any]:
        """What the bar's format may name; `per_minute` besides what tqdm has."""
        found = super().format_dict
        rate = found["rate"] or (found["n"] / found["elapsed"] if found["n"] and found["elapsed"] else None)
        shown = "?" if rate is None else f"{60 * rate:.3g}" if rate < 1.6 else f"{60 * rate:.0f}"
        return {**found, "per_minute": f"{shown} {self.unit}s/min"}
