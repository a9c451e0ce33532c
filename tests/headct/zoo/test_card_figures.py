"""The model card's figures are those of the metadata: no other value, none more, none less."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headct.zoo.card_figures import figure_faults

BUNDLES = Path(__file__).resolve().parents[3] / "bundles"
CARD = """# Some bundle

Mean Dice 0.5, and 0.99 on others; version 2.

| `eval_metrics` | value |
|---|---|
| `mean_dice` | 0.5 |
| `hit_rate` | 0.80 |

| overlay | parameters |
|---|---|
| `unet` | 3 |
"""
METRICS = {"mean_dice": 0.5, "hit_rate": 0.8}


@pytest.mark.parametrize("card", sorted(BUNDLES.glob("*/docs/README.md")), ids=lambda path: path.parts[-3])
def test_cards_of_this_repository(card):
    text = card.read_text()
    metrics = json.loads((card.parents[1] / "configs" / "metadata.json").read_text())["eval_metrics"]
    assert metrics
    assert list(figure_faults(text, metrics)) == []
    results = "".join(line for line in text.splitlines() if not line.startswith("| `"))
    for name, value in metrics.items():
        assert f"| {value} " in results, f"{name}: {value} is not among the card's results"


def test_no_figures_need_no_table():
    assert list(figure_faults(CARD, METRICS)) == []
    assert list(figure_faults("# Nothing", {})) == []


@pytest.mark.parametrize(
    ("metrics", "faults"),
    [
        # every number of these stands somewhere in the card
        (
            {"made_up": 0.5, "hit_rate": 0.8},
            [
                "expected made_up = 0.5 in the table eval_metrics of docs/README.md, found no such row",
                "expected mean_dice of docs/README.md in eval_metrics of metadata.json, found no such figure",
            ],
        ),
        (
            {**METRICS, "mean_dice": 0.99},
            ["expected mean_dice = 0.99 of metadata.json in docs/README.md, found 0.5"],
        ),
        (
            {"mean_dice": 0.5},
            ["expected hit_rate of docs/README.md in eval_metrics of metadata.json, found no such figure"],
        ),
        (
            {**METRICS, "unet": 3},
            ["expected unet = 3 in the table eval_metrics of docs/README.md, found no such row"],
        ),
        *(
            (
                {**METRICS, "mean_dice": value},
                [f"expected a number as mean_dice in eval_metrics of metadata.json, found {value!r}"],
            )
            for value in ({"x": 0.5}, "0.5", [0.5], True, None, float("nan"))
        ),
        ([0.5], ["expected eval_metrics of metadata.json to be numbers by name, found [0.5]"]),
    ],
    ids=str,
)
def test_metrics_that_differ_from_the_card(metrics, faults):
    assert list(figure_faults(CARD, metrics)) == faults


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (
            "| `hit_rate` | 4 of 5 |",
            "expected hit_rate = 0.8 of metadata.json in docs/README.md, found 4 of 5",
        ),
        ("| `hit_rate` | 0.80 |\n| `hit_rate` | 0.80 |", "expected each figure once"),
        (
            "| `hit_rate` | 0.80 | 0.7 |",
            "expected hit_rate = 0.8 of metadata.json in docs/README.md, found | `h",
        ),
        ("", "expected hit_rate = 0.8 in the table eval_metrics of docs/README.md, found no such row"),
    ],
)
def test_rows_that_state_something_else(row, fault):
    (found,) = figure_faults(CARD.replace("| `hit_rate` | 0.80 |", row), METRICS)
    assert found.startswith(fault)
