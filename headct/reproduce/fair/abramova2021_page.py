"""The page of the fair test of Abramova 2021: tables, paired tests and figures."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from headct.reproduce.abramova2021 import TABLES
from headct.reproduce.fair.dsc_tables import Part, count_of, dsc_boxes, part_of_page
from headct.reproduce.fair.heads import FairHeads
from headct.reproduce.fair.rows import (
    FairRow,
    Runs,
    mean_of_seeds,
    not_run,
    run_seconds,
    seed_paired_table,
    with_sd,
)
from headct.reproduce.false_positives import false_positive_table, places_by_head
from headct.reproduce.lesion_shape import measured_lesion
from headct.reproduce.outlines import draw_outlines, outlined
from headct.reproduce.page import markdown, paired_table, provenance
from tools.core.markdown import table
from tools.core.tables import Row

__all__ = ["draw", "make_page"]

SMALL_ML = 3.0
"""A lesion of at most so many mL is small; the paper judged by eye."""

SE_TABLE, LOSS_TABLE, *SAMPLING_TABLES = (table.paper for table in TABLES)
PAPER = {name: figures for table in SAMPLING_TABLES for name, figures in table.items()}


PARTS = (
    Part(
        "Where negative patches come from, and the mirrored brain (tables 3 and 4)",
        ("none", "brain", "border", "border_symmetric", "border_ivh_symmetric", "final", "final_before"),
        (
            ("none", "brain"),
            ("brain", "border"),
            ("border", "border_symmetric"),
            ("border_symmetric", "border_ivh_symmetric"),
            ("border_symmetric", "final"),
            ("border_ivh_symmetric", "final"),
            ("brain", "final"),
            ("final_before", "final"),
        ),
        "The paper's main claim is the pair `brain` and `final` in heads with IVH: 0.664 to 0.777. "
        "`final_before` draws no negatives from plain brain: not the paper's, but an earlier reading of it.",
        PAPER,
    ),
    Part(
        "How wide the region around the lesion is",
        ("border_ivh_symmetric", "half_width_10", "half_width_20"),
        (("border_ivh_symmetric", "half_width_10"), ("border_ivh_symmetric", "half_width_20")),
        "The lesion is dilated by a cube of this half-width: 5 mm in `border_ivh_symmetric`, 10 and 20 mm "
        "in the "
        "others. The paper states none.",
    ),
    Part("Squeeze-and-excitation (table 2)", ("unet3d", "brain"), (("unet3d", "brain"),), paper=SE_TABLE),
    Part(
        "Loss (section 3.2)",
        ("focal", "border"),
        (("focal", "border"),),
        "Focal loss, or Dice and cross-entropy.",
        LOSS_TABLE,
    ),
    Part(
        "How many distinct patches (table 5)",
        ("distinct_a_sixth", "distinct_half", "final"),
        (("distinct_a_sixth", "final"), ("distinct_half", "final")),
        "As many patches are shown in all; `final` sees each once, the others a half of them twice, or a "
        "sixth of "
        "them six times. The paper has 500, 1000, 1500 and 3000 per image, each under six turns and flips: "
        "0.845, "
        "0.866, 0.846 and 0.868.",
    ),
    Part(
        "Patch size (section 3.3, figure 6)",
        ("final", "patch_32x32x16", "patch_48x48x24"),
        (("final", "patch_32x32x16"), ("patch_32x32x16", "patch_48x48x24")),
        "`final` has patches of 24x24x8. The paper: 0.759 (at most 0.958), 0.842 (0.968) and 0.805 (0.963), "
        "of "
        "voxels of about 0.5x0.5x3 mm. As many patches of each size are shown, so that larger ones show "
        "more.",
    ),
)

METHOD = """\
Smaller than the paper: a quarter of its channels (8, 16, 32, 64; as many hidden units of
squeeze-and-excitation), patches of 24x24x8 voxels instead of 32x32x16, which are {} mm wide, and {} patches
in all, each extracted once. Every row takes as many optimiser steps, and is scored with the weights after
the last one: nothing chooses an epoch. Test heads are made of label maps that no training head is made of.
Half of all heads have blood in the ventricles too, which is no lesion (15 % in the paper).

In the tables a figure is the mean over seeds, with the standard deviation over seeds behind ±; a row without
± has one seed. Counts of heads are means over seeds. Paired tests take each head's mean over the seeds that
both rows have; p-values are not corrected for their number, and with {} heads they see large differences
only. The paper's figures are of 76 patients: only the order of rows can be compared."""


def make_page(
    command: str,
    rows: Mapping[str, FairRow],
    tables: Runs,
    heads: FairHeads,
    keys: Mapping[str, Any],
    datalist: Path,
    work_dir: Path,
    pictures: Sequence[Path] = (),
) -> str:
    """The page of what was run.

    Args:
        command: that ran it.
        rows: of the tables.
        tables: rows of `per_case.csv`, by row and seed.
        heads: how the heads were made.
        keys: of all configurations.
        datalist: of the heads.
        work_dir: folder of the runs.
        pictures: to show, in the folder of the page.
    """
    means = {name: mean_of_seeds(seeds) for name, seeds in tables.items()}
    cases = next(iter(means.values()))
    some = next(name for name in tables)
    patches = (
        rows[some].keys["patches_per_case"] * rows[some].keys["max_epochs"] * sum(heads.training.values())
    )
    parts: list[str | Sequence[str]] = [
        provenance(
            command,
            heads.words(),
            "test heads of other people than the training heads; no epoch is chosen",
            f"{len(cases)} test heads, {sum(bool(row['ivh']) for row in cases)} with IVH",
            {
                "patches": f"{patches} of {'x'.join(map(str, keys['roi_size']))} voxels in batches of "
                f"{keys['batch_size']}: {-(-patches // keys['batch_size'])} steps",
                "time": _times(tables, work_dir, len(cases)),
            },
        ),
        METHOD.format(f"{keys['roi_size'][0] * heads.spacing[0]:g}", patches, len(cases)),
    ]
    parts.append(not_run(rows, tables))
    parts.append(
        "CT angiography as a further channel (0.834 to 0.795 in the paper): synthetic heads have none."
    )
    for part in PARTS:
        parts += part_of_page(part, tables)
    parts += ["## Small and irregular lesions", *_shapes(tables, datalist)]
    runs = {name: [work_dir / f"{name}_seed_{seed}" for seed in seeds] for name, seeds in tables.items()}
    places = places_by_head(datalist, runs)
    if any(places.values()):
        parts += [
            "## Where false positives lie",
            "Mean volume per head in mL, over seeds: of the lesion, found and missed; and of what is none, "
            "up to 7 mm beside one, in the ventricles, within 7 mm of the brain's surface, and deeper.",
            false_positive_table(places),
            "The volume in the ventricles, which the paper's sampling is against, in heads with IVH:",
            paired_table(places, PARTS[0].pairs, "in ventricles", ("ivh",)),
        ]
    parts += [f"![{path.stem}]({path.name})" for path in pictures]
    return markdown("Abramova 2021 put to a fair test", *parts)


def _times(tables: Runs, work_dir: Path, heads: int) -> str:
    """Median time of a training, and per head of an evaluation."""
    known = [run_seconds(work_dir, name, seed) for name, seeds in tables.items() for seed in seeds]
    training = [took["training"] for took in known if "training" in took]
    scoring = [took["evaluating"] / heads for took in known if "evaluating" in took]
    if not training or not scoring:
        return "not recorded"
    return (
        f"a training {statistics.median(training):.0f} s; segmenting and scoring a head "
        f"{statistics.median(scoring):.1f} s on one core, the start of Python included (the paper: 17 s per "
        "patient "
        "on a TITAN V)"
    )


def _shapes(tables: Runs, datalist: Path) -> list[str | list[str]]:
    """DSC of heads with a small, and with an irregular lesion, and tests on the heads without small ones."""
    items = {item["case"]: item for item in json.loads(datalist.read_text())["testing"]}
    lesions = {case: measured_lesion(datalist.parent / item["label"]) for case, item in items.items()}
    large = {case for case, lesion in lesions.items() if lesion["volume_ml"] > SMALL_ML}
    middle = statistics.median(lesions[case]["solidity"] for case in large) if large else 0.0
    irregular = {case for case in large if lesions[case]["solidity"] < middle}
    groups = {
        f"small ({len(items) - len(large)})": set(items) - large,
        f"larger ({len(large)})": large,
        f"larger, with IVH ({sum(items[case]['ivh'] for case in large)})": {
            case for case in large if items[case]["ivh"]
        },
        f"larger, regular ({len(large - irregular)})": large - irregular,
        f"larger, irregular ({len(irregular)})": irregular,
    }
    lines = []
    for name, seeds in tables.items():
        cells = [name, *(with_sd(seeds, partial(_mean_of, cases=cases)) for cases in groups.values())]
        inside = {seed: [row for row in rows if row["case"] in irregular] for seed, rows in seeds.items()}
        lines.append([*cells, with_sd(inside, partial(count_of, limit=0.8, side="below"), 1)])
    text = (
        f"Small: at most {SMALL_ML:g} mL. Irregular: of the larger ones those that fill less of their convex "
        f"hull than the median ({middle:.2f}). In brackets the number of heads. In the paper 14 lesions were "
        "small, and 3 of 17 irregular ones stayed below 0.8 in the final model. A DSC of small lesions "
        "says little, since few voxels decide it; the tests below leave them out."
    )
    pairs = list(dict.fromkeys(pair for part in PARTS for pair in part.pairs))
    tests = seed_paired_table(tables, pairs, groups=("all", "ivh"), cases=large)
    return [text, table(["DSC", *groups, "irregular below 0.8"], lines), tests]


def _mean_of(rows: Sequence[Row], cases: set[str]) -> float | None:
    values = [float(row["dice"]) for row in rows if row["case"] in cases]
    return statistics.fmean(values) if values else None


def draw(tables: Runs, datalist: Path, work_dir: Path, out: Path) -> list[Path]:
    """Box plots of the DSC of heads by row, and outlines of three rows on three heads.

    Returns:
        the pictures, in the folder `out`.
    """
    return [dsc_boxes(tables, out / "abramova2021_fair.png"), *_outlines(tables, datalist, work_dir, out)]


def _outlines(tables: Runs, datalist: Path, work_dir: Path, out: Path) -> list[Path]:
    """Figures 7 and 8: of the heads with IVH, those in the middle and best by the DSC of `brain`."""
    shown = [name for name in ("brain", "border_symmetric", "final") if name in tables and 0 in tables[name]]
    if not shown:
        return []
    rows = sorted(
        (row for row in tables[shown[0]][0] if row["ivh"] and row["dice"] > 0), key=lambda row: row["dice"]
    )
    picked = list(dict.fromkeys(rows[place]["case"] for place in (len(rows) // 2, -1) if rows))
    items = {item["case"]: item for item in json.loads(datalist.read_text())["testing"]}
    cases = []
    for case in picked:
        for name in shown:
            score = next(row["dice"] for row in tables[name][0] if row["case"] == case)
            title = f"{case}, {name}: DSC {score:.2f}"
            cases.append(outlined(datalist.parent, items[case], work_dir / f"{name}_seed_0", title))
    return [draw_outlines(cases, out / "abramova2021_fair_heads.png")] if cases else []
