"""The page of the fair test of Abramova 2022."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headct.reproduce.fair.dsc_tables import Part, dsc_boxes, part_of_page
from headct.reproduce.fair.heads import FairHeads
from headct.reproduce.fair.rows import Runs, mean_of_seeds, not_run
from headct.reproduce.page import markdown, provenance

__all__ = ["PARTS", "draw", "make_page"]

PARTS = (
    Part(
        "Where squeeze-and-excitation stands (section 3)",
        ("se_none", "se_ends", "se_blocks", "se_encoder", "final"),
        (
            ("se_none", "se_ends"),
            ("se_none", "se_blocks"),
            ("se_none", "se_encoder"),
            ("se_none", "final"),
            ("se_ends", "se_encoder"),
        ),
        "Nowhere, at the ends of both paths, after every block, after every level of the encoding path, "
        "which the "
        "paper found best by 3.5 %, or on the skips, as in the code that its authors published (`final`).",
    ),
    Part(
        "Depth (section 3)",
        ("depth_3", "final"),
        (("depth_3", "final"),),
        "One level more, `final`, was the paper's best result: 0.712 in cross-validation.",
    ),
    Part(
        "Normalisation (section 3)",
        ("minmax", "final"),
        (("minmax", "final"),),
        "By percentiles, `final`, instead of the lowest and highest value: 1 % in the paper.",
    ),
    Part(
        "The mirrored brain (section 3)",
        ("final", "symmetric"),
        (("final", "symmetric"),),
        "No significant improvement in the paper.",
    ),
    Part(
        "Small components dropped",
        ("final_unfiltered", "final"),
        (("final_unfiltered", "final"),),
        "The same weights; `final` drops what is smaller than a tenth of the largest component.",
    ),
)

METHOD = """\
Smaller than the paper: a quarter of its channels, patches of {} voxels of {} mm instead of 48x48x16 of
0.42x0.42x5 mm, windows that overlap by half instead of steps of 8, 8, 2, and {} patches in all, each
extracted once. Every row takes as many optimiser steps, and is scored with the weights after the last one:
nothing chooses an epoch. Test heads are made of label maps that no training head is made of. All blood is
lesion; half of the heads have some in the ventricles.

A figure is the mean over seeds, with the standard deviation over seeds behind ±; a row without ± has one
seed. Paired tests take each head's mean over the seeds that both rows have; p-values are not corrected for
their number. The paper's figures are of the challenge's cases: only the order of rows can be compared."""


def make_page(
    command: str,
    tables: Runs,
    rows: Sequence[str],
    heads: FairHeads,
    keys: Mapping[str, Any],
    pictures: Sequence[Path] = (),
) -> str:
    """The page of what was run.

    Args:
        command: that ran it.
        tables: rows of `per_case.csv`, by row and seed.
        rows: names of all that were asked for.
        heads: how the heads were made.
        keys: of all configurations.
        pictures: to show, in the folder of the page.
    """
    means = {name: mean_of_seeds(seeds) for name, seeds in tables.items()}
    cases = next(iter(means.values()))
    patches = keys["patches_per_case"] * keys["max_epochs"] * sum(heads.training.values())
    size = "x".join(map(str, keys["roi_size"]))
    about = provenance(
        command,
        heads.words(),
        "test heads of other people than the training heads; no epoch is chosen",
        f"{len(cases)} test heads, {sum(bool(row['ivh']) for row in cases)} with IVH",
        {"patches": f"{patches} of {size} voxels, {-(-patches // keys['batch_size'])} steps"},
    )
    method = METHOD.format(size, "x".join(f"{mm:g}" for mm in heads.spacing), patches)
    parts: list[str | Sequence[str]] = [about, method]
    parts.append(not_run(rows, tables))
    for part in PARTS:
        parts += part_of_page(part, tables)
    parts += [f"![{path.stem}]({path.name})" for path in pictures]
    return markdown("Abramova 2022 put to a fair test", *parts)


def draw(tables: Runs, out: Path) -> list[Path]:
    """Box plots of the DSC of heads by row, in the folder `out`."""
    return [dsc_boxes(tables, out / "abramova2022_fair.png")]
