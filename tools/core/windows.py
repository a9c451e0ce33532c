"""Display windows: the range of HU that a grey picture shows."""

from __future__ import annotations

from typing import NamedTuple


class DisplayWindow(NamedTuple):
    """Level and width in HU, as scanners and viewers state a window; a list of both is one too."""

    level: float
    width: float

    @property
    def hu(self) -> tuple[float, float]:
        """What becomes black and what becomes white, in HU."""
        return self.level - self.width / 2, self.level + self.width / 2


BRAIN_WINDOW = DisplayWindow(40.0, 80.0)
"""In which the brain is looked at."""

CT_ICH_WINDOW = DisplayWindow(40.0, 120.0)
"""Of the pictures of CT-ICH 1.0.0 (Hssayeni 2020, 3.2), wide enough for blood."""
