"""The fair test of Abramova 2022: its rows, and a page whose figures are counted by hand."""

from __future__ import annotations

from headct.reproduce.fair import abramova2022 as fair
from headct.reproduce.fair.abramova2022_page import PARTS, draw, make_page
from headct.runs.find_bundle import check_keys, config_files, find_bundle


def test_rows_are_configurations_of_the_bundle():
    folder = find_bundle(fair.BUNDLE)
    for row in fair.ROWS.values():
        check_keys(folder, config_files(folder, row.overlays), {**fair.KEYS, **row.keys, "seed": 1})
    assert {name for part in PARTS for name in part.rows} == {*fair.ROWS, fair.UNFILTERED}
    assert all(set(pair) <= set(part.rows) for part in PARTS for pair in part.pairs)


def test_page(tmp_path):
    def rows(*dice):
        return [{"case": f"c{n}", "ivh": n % 2 == 0, "dice": value} for n, value in enumerate(dice)]

    tables = {
        "final": {0: rows(0.5, 0.7, 0.8), 1: rows(0.7, 0.9, 0.8)},
        "se_none": {0: rows(0.4, 0.6, 0.8)},
        fair.UNFILTERED: {0: rows(0.5, 0.5, 0.8)},
    }
    page = make_page("cmd", tables, tuple(fair.ROWS), fair.HEADS, fair.KEYS, draw(tables, tmp_path))
    assert "| final | 2 | 0.733 ± 0.094 | 0.700 ± 0.071 | 0.800 ± 0.141 |" in page
    assert "| se_none | final | all | 3 | +0.067 |" in page
    assert "| final_unfiltered | final | all | 3 | +0.067 |" in page
    assert "Not run here: `se_encoder`, `depth_3`," in page
    assert "10016 of 32x32x16 voxels, 626 steps" in page
    assert "![abramova2022_fair](abramova2022_fair.png)" in page
    assert "## Depth" not in page  # one row of it alone
