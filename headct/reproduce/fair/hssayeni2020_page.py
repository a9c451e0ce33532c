"""The page of the fair test of Hssayeni 2020: three experiments, thresholds, ages, and outlines."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from scipy import stats

from headct.reproduce.fair.rows import mean_of_seeds, not_run, with_sd
from headct.reproduce.fair.slice_tables import head_tests
from headct.reproduce.fair.slices import HEADS, by_head
from headct.reproduce.fair.thresholds import curves_table, detection_tables, draw_curves
from headct.reproduce.hssayeni2020 import PAPER_AGES, PAPER_DETECTION
from headct.reproduce.hssayeni2020 import ROWS as PAPER
from headct.reproduce.outlines import COLUMNS, draw_outlines, outlined_picks
from headct.reproduce.page import markdown, provenance
from headct.reproduce.slice_scores import Scores, Seeds
from tools.core.markdown import table
from tools.core.tables import Row

__all__ = ["ages_table", "draw", "make_page", "telling_slices"]

PAIRS = (("slices", "windows"), ("threshold", "windows"), ("threshold", "slices"))

METHOD = """\
`threshold` is the range of grey values with the best Jaccard index of the training slices, `slices` the U-Net
on whole slices, trained on those with hemorrhage alone, `windows` the same U-Net on windows of {} pixels,
half a window apart, as many with hemorrhage as without. Smaller than the paper: slices of {} pixels
instead of 640x640, windows of 160x160 in proportion; an eighth of the channels; a rate of {:g} instead of
1e-5. Both networks take {} steps, of {} slices or {} windows, which are as many pixels, as in the paper. The
epoch is chosen by the Dice of other heads, among four. Test heads are made of label maps that no training
head is made of.

Dice and Jaccard index are means over the slices with lesion, of masks at the threshold 0.5 after closing and
opening (3 pixels); LA is the share of these slices whose mask meets the lesion; a false alarm is a slice
without lesion in which something was found. All are means over seeds, with the standard deviation over seeds
behind ±; a row without ± has one seed. The paper's values for whole slices are what all-black masks score."""

CURVES = """\
Pixels of all slices together, by the probabilities before closing and opening. The best threshold is chosen
on the test itself, the same way for every row: it says what a row could reach, not what it would. The row
`threshold` knows 0 and 1 alone; what its curve has between comes of the resizing onto the file's grid."""

AGES = """\
The simulated people are 16 to 96 years old, which decides how much their brain has shrunk; there are no
children. Instead, the test heads are halved at their median age of {:g} years: {} and {} heads. Two heads in
a row show the same person, which the tests (Welch's t and Mann-Whitney's) do not know. The paper:
{}, no significant difference."""


def make_page(
    command: str,
    rows: Collection[str],
    scores: Seeds,
    keys: Mapping[str, Any],
    ages: Mapping[str, float],
    pictures: Sequence[Path] = (),
) -> str:
    """The page of what was run.

    Args:
        command: that ran it.
        rows: names of all that were asked for.
        scores: by row and seed.
        keys: of both networks' configurations; and `steps` of an epoch, side of a `window` in pixels,
            `slices` and `windows` of a batch.
        ages: of the test heads in years.
        pictures: to show, in the folder of the page.
    """
    first = next(iter(next(iter(scores.values())).values()))
    size, window = "x".join(map(str, keys["input#size"])), f"{keys['window']}x{keys['window']}"
    steps = keys["max_epochs"] * keys["steps"]
    about = provenance(
        command,
        HEADS.words(),
        "test heads of other people than the training heads; the epoch is chosen on the validation heads",
        f"{len(first.rows)} test slices, {len(first.lesions())} with lesion",
        {"training": f"{keys['max_epochs']} epochs, {steps} steps, Adam {keys['learning_rate']:g}"},
    )
    method = METHOD.format(window, size, keys["learning_rate"], steps, keys["slices"], keys["windows"])
    middle = statistics.median(ages.values())
    younger = sum(age < middle for age in ages.values())
    parts: list[str | Sequence[str]] = [about, method, not_run(rows, scores)]
    parts += ["## The three experiments (sections 5 and 6)", _experiments(scores)]
    parts += head_tests(scores, PAIRS)
    parts += ["## At every threshold", CURVES, curves_table(scores)]
    parts += [
        "## Slices by probability threshold (table 6), in percent",
        detection_tables(scores, {"windows": PAPER_DETECTION}),
        "## Dice by age",
        AGES.format(middle, younger, len(ages) - younger, PAPER_AGES),
        ages_table(scores, ages),
    ]
    parts += [f"![{path.stem}]({path.name})" for path in pictures]
    return markdown("Hssayeni 2020 put to a fair test", *parts)


def _experiments(scores: Seeds) -> list[str]:
    lines = []
    for name, seeds in scores.items():
        cells = [name, str(len(seeds))]
        for stated, column in zip(PAPER[name][1:], ("iou", "dice"), strict=True):
            cells += [f"{stated:.3f}", with_sd(seeds, partial(Scores.mean, column=column))]
        for large in (True, False):
            cells.append(with_sd(seeds, partial(Scores.mean, column="dice", large=large)))
        cells.append(with_sd(seeds, partial(Scores.mean, column="hit")))
        lines.append([*cells, with_sd(seeds, Scores.false_alarms)])
    head = ["", "seeds", "Jaccard, paper", "Jaccard", "Dice, paper", "Dice", "Dice large", "Dice small"]
    return table([*head, "LA", "false alarms"], lines)


def ages_table(scores: Seeds, ages: Mapping[str, float]) -> list[str]:
    """Dice of heads below the median age and of the others, each head's mean over slices and seeds.

    Args:
        scores: by row and seed.
        ages: of heads in years, by case.
    """
    middle, lines = statistics.median(ages.values()), []
    for name, seeds in scores.items():
        rows = mean_of_seeds({seed: by_head(own.rows, ("dice",)) for seed, own in seeds.items()})
        halves: list[list[float]] = [[], []]
        for row in rows:
            halves[ages[row["case"]] >= middle].append(float(row["dice"]))
        cells = [f"{statistics.fmean(half):.3f} ({len(half)})" if half else "no head" for half in halves]
        tests = ["", ""]
        if min(map(len, halves)) > 1:
            same = len({*halves[0], *halves[1]}) == 1  # such as 0 in all heads: nothing to test
            found = (stats.ttest_ind(*halves, equal_var=False), stats.mannwhitneyu(*halves))
            tests = ["1" if same else f"{float(test.pvalue):.3g}" for test in found]
        lines.append([name, *cells, *tests])
    return table(["", "Dice, younger (heads)", "Dice, older (heads)", "p (t)", "p (Mann-Whitney)"], lines)


def telling_slices(rows: Sequence[Row], count: int = COLUMNS) -> dict[str, list[tuple[str, int]]]:
    """Slices with the highest Dice, and those with most false pixels: at most one of each head.

    Args:
        rows: of slices named HEAD_NN.
        count: of each.

    Returns:
        heads and numbers of slices, which count from 1. Where nothing was found there is neither.
    """
    right = [row for row in rows if row["hit"]]
    wrong = [row for row in rows if row["fp"]]
    orders = {
        "highest Dice": sorted(right, key=lambda row: -float(row["dice"])),
        "most false pixels": sorted(wrong, key=lambda row: -int(row["fp"])),
    }
    chosen = {}
    for title, order in orders.items():
        heads: dict[str, int] = {}
        for row in order:
            head, number = str(row["case"]).rsplit("_", 1)
            heads.setdefault(head, int(number))
        chosen[title] = list(heads.items())[:count]
    return chosen


def draw(
    scores: Seeds, folder: Path, tested: Mapping[str, Mapping[str, Any]], work_dir: Path, out: Path
) -> list[Path]:
    """Curves over thresholds; and as in figure 5 outlines on slices where a network is right, and wrong.

    Args:
        scores: by row and seed.
        folder: that the paths of the entries are relative to.
        tested: entries of the test heads, by case.
        work_dir: folder of the runs.
        out: folder of the pictures.
    """
    paths = [draw_curves(scores, out / "hssayeni2020_fair.png")]
    cases = [
        outlined_picks(folder, tested, work_dir / f"{name}_seed_0", picks, f"{name}: {title}")
        for name in scores
        if name != "threshold" and 0 in scores[name]
        for title, picks in telling_slices(scores[name][0].rows).items()
        if picks
    ]
    if cases:
        paths.append(draw_outlines(cases, out / "hssayeni2020_fair_slices.png"))
    return paths
