"""Level and width, and the HU they show."""

from __future__ import annotations

from tools.core.windows import BRAIN_WINDOW, CT_ICH_WINDOW, DisplayWindow


def test_hu_of_windows():
    assert BRAIN_WINDOW.hu == (0.0, 80.0)
    assert CT_ICH_WINDOW.hu == (-20.0, 100.0)
    assert DisplayWindow(*[700, 3200]).hu == (-900.0, 2300.0)
