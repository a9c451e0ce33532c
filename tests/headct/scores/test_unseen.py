"""The page of heads of unseen people, by a few heads counted by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.unseen_page import draw_curves, make_page, smallest_found


def head(ml: float, dice: float, false_ml: float, found: bool | None, **types: tuple[int, int, int]) -> Any:
    """Found, and with that much false blood, at both of two thresholds."""
    every = {kind: types.get(kind, (0, 0, 0)) for kind in ("edh", "iph")}
    at = {"dice_at": [dice, dice / 2], "found_at": [bool(found)] * 2, "false_ml_at": [false_ml, false_ml / 2]}
    bins = np.array([[4, 0], [1, 0]])
    return SimpleNamespace(ml=ml, dice=dice, false_ml=false_ml, found=found, types=every, bins=bins, **at)


HEADS = [
    head(10, 0.8, 1, True, iph=(100, 90, 76)),  # Dice 0.8
    head(5, 0.6, 3, True, iph=(50, 60, 33)),  # both IPH together 2 * 109 / 300
    head(1, 0.0, 0, False, edh=(10, 0, 0)),
    head(0, 1.0, 0, None),
    head(0, 0.0, 2, None),
]


def test_the_smallest_volume_that_is_found_in_nine_of_ten():
    assert smallest_found([(ml, ml > 2) for ml in range(1, 11)]) == 3  # from 2 mL on, 8 of 9 are too few
    assert smallest_found([(ml, ml not in (2, 5)) for ml in range(1, 21)]) == 1  # 18 of 20
    assert smallest_found([(10, False), (5, True)]) is None


def test_page_by_hand(tmp_path):
    page = make_page({"one": HEADS}, {"one": HEADS[:1]}, (0.5, 0.9), "a machine")
    assert "5 heads, 3 of them with hemorrhage" in page
    # Dice over 3 heads, 2 large ones; 0 of 1 small one found, 2 of 3; nothing found in 1 of 2 without
    cells = "0.47 (3) | 0.70 (2) | 0.00 (1) | 0.67 (3) | 0.50 (2) | 5.0 mL | 1.20 (5) | 1.00 (2)"
    assert f"| one | {cells} |" in page
    assert (
        "| one | 0.80 (1) | 0.80 (1) | no head | 1.00 (1) | no head | 10.0 mL | 1.00 (1) | no head |" in page
    )
    assert "| one | 0.00 | 0.73 | 0.36 |" in page
    assert "| one | 0.47 / 0.67 / 1.2 | 0.23 / 0.67 / 0.6 |" in page
    assert draw_curves({"one": HEADS}, (0.5, 0.9), tmp_path / "curves.png").exists()
