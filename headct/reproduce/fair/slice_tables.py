"""Tables of the scores of single slices, by row and seed, for pages of fair tests of 2D networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from headct.reproduce.fair.rows import FairTest, seed_paired_table, with_sd
from headct.reproduce.fair.slices import by_head
from headct.reproduce.slice_scores import Scores, Seeds
from tools.core.markdown import table

__all__ = ["HEAD_TESTS", "head_tests", "scores_table", "seed_scores"]

Pair = tuple[float, float]

HEAD_TESTS = """\
Neighbouring slices are alike, so that a test compares the mean of each head's slices with lesion, over the
seeds that both rows have. p-values are not corrected for their number."""


def seed_scores(test: FairTest) -> dict[str, dict[int, Scores]]:
    """The scores of every run of a fair test, by row and seed."""
    return {
        name: {
            seed: Scores.read(test.folder / f"{name}_seed_{seed}" / "run" / "eval" / "slice_metrics")
            for seed in seeds
        }
        for name, seeds in test.tables.items()
    }


def scores_table(
    scores: Seeds, location: Mapping[str, Pair] | None = None, overlap: Mapping[str, Pair] | None = None
) -> list[str]:
    """Location accuracy, overlap and false alarms of every row, as Li 2021 has them.

    Args:
        scores: by row and seed.
        location: the paper's location accuracy on large and on small lesions, by row; without it there are
            no such columns.
        overlap: the paper's Dice and IoU, by row; the same.
    """
    lines = []
    for name, seeds in scores.items():
        cells = [name, str(len(seeds))]
        for number, large in enumerate((True, False)):
            cells += _papers(location, name, number)
            cells.append(with_sd(seeds, partial(Scores.mean, column="hit", large=large)))
        for number, column in enumerate(("dice", "iou")):
            cells += _papers(overlap, name, number)
            cells.append(with_sd(seeds, partial(Scores.mean, column=column)))
        for large in (True, False):
            cells.append(with_sd(seeds, partial(Scores.mean, column="dice", large=large)))
        cells.append(with_sd(seeds, lambda own: own.mean("precision")))
        cells.append(with_sd(seeds, lambda own: own.mean("recall")))
        lines.append([*cells, with_sd(seeds, lambda own: own.area), with_sd(seeds, Scores.false_alarms)])
    head = ["network", "seeds"]
    for what, paper in (("LA large", location), ("LA small", location), ("Dice", overlap), ("IoU", overlap)):
        head += [what] if paper is None else [f"{what}, paper", what]
    return table([*head, "Dice large", "Dice small", "precision", "recall", "PR area", "false alarms"], lines)


def _papers(figures: Mapping[str, Pair] | None, name: str, number: int) -> list[str]:
    """The cell of the paper's figure, if there is such a column."""
    if figures is None:
        return []
    return [f"{figures[name][number]:.3f}" if name in figures else ""]


def head_tests(scores: Seeds, pairs: Sequence[tuple[str, str]]) -> list[str | Sequence[str]]:
    """Paired tests over heads of Dice, location accuracy and recall: headings, tables, and how it is done.

    Args:
        scores: by row and seed.
        pairs: names of two rows; those of which one was not run are left out.
    """
    columns = {"dice": "Dice", "hit": "location accuracy", "recall": "recall"}
    heads = {
        name: {seed: by_head(own.rows, tuple(columns)) for seed, own in seeds.items()}
        for name, seeds in scores.items()
    }
    parts: list[str | Sequence[str]] = []
    for column, title in columns.items():
        tests = seed_paired_table(heads, pairs, column)
        if tests:
            parts += [f"## Paired tests: {title}", tests]
    return [*parts, HEAD_TESTS]
