"""Slices of fair heads for 2D networks, and two trainings that differ in nothing but a leak.

Both are tested on the same slices: every other one of each test head. Split by patient, the training shows no
slice of these heads; split by slice, it shows the neighbours of the tested ones, and as many slices in all.
What the second scores more is what a split by slice flatters.
"""

from __future__ import annotations

import json
import os
import random
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from headct.reproduce.fair.heads import FairHeads
from tools.core.tables import Row, write_json
from tools.data.splits import SPLITS

__all__ = ["HEADS", "by_head", "split_slices"]

HEADS = FairHeads(
    training={"iph": 16, "iph+ivh": 16},
    validation={"iph": 3, "iph+ivh": 3},
    testing={"iph": 12, "iph+ivh": 12},
    shape=(152, 184, 30),
    spacing=(1.25, 1.25, 5.0),
)
"""Heads with an intraparenchymal hemorrhage, half of them with blood in the ventricles too: all is lesion."""


def split_slices(datalist: Path, folder: Path) -> dict[str, Path]:
    """Write a datalist of single slices for each way to split them, with as many slices with blood as
    without.

    Args:
        datalist: of `write_fair_heads`.
        folder: to write to, a folder `by_SPLIT` for each.

    Returns:
        folder of the datalist by split, one of `tools.data.splits.SPLITS`. Fold 0, which chooses the epoch,
        and the test slices are the same in both.
    """
    content, draw = json.loads(datalist.read_text()), random.Random(0)
    heads = [*content["training"], *content["testing"]]
    slices = {item["case"]: _slices(item, datalist.parent, draw) for item in heads}
    validation = [s for item in content["training"] if item["fold"] == 0 for s in slices[item["case"]]]
    training = [s for item in content["training"] if item["fold"] != 0 for s in slices[item["case"]]]
    tested = [s for item in content["testing"] for s in slices[item["case"]]]
    even, odd = ([s for s in tested if s["slice"] % 2 == rest] for rest in (0, 1))
    neighbours = odd[: len(training) // 2]
    kept = draw.sample(training, len(training) - len(neighbours))
    written = {}
    for split, shown in zip(SPLITS, (training, [*kept, *neighbours]), strict=True):
        place = folder / f"by_{split}"
        lists = {
            "labels": content["labels"],
            "training": [{**s, "fold": 1} for s in shown] + [{**s, "fold": 0} for s in validation],
            "testing": even,
        }
        for part in ("training", "testing"):
            lists[part] = [
                {**s, **{key: os.path.relpath(datalist.parent / s[key], place) for key in ("image", "label")}}
                for s in lists[part]
            ]
        written[split] = write_json(place / "dataset.json", lists).parent
    return written


def _slices(item: Mapping[str, Any], folder: Path, draw: random.Random) -> list[dict[str, Any]]:
    """Entries of a head's slices with blood, and of as many without that show brain, in order."""
    label, brain = (_array(folder / item[key]).any((0, 1)) for key in ("label", "brain"))
    bleeding = [int(z) + 1 for z in np.flatnonzero(label)]  # datalists count slices from 1
    others = [int(z) + 1 for z in np.flatnonzero(brain & ~label)]
    without = draw.sample(others, min(len(others), len(bleeding) or len(others) // 2))
    keys = {"image": item["image"], "label": item["label"], "patient": item["case"]}
    return [
        {**keys, "case": f"{item['case']}_z{z:02d}", "slice": z, "hemorrhage": z in bleeding}
        for z in sorted([*bleeding, *without])
    ]


def _array(path: Path) -> np.ndarray:
    image: Any = nib.load(path)
    return np.asarray(image.dataobj) != 0


def by_head(rows: Sequence[Row], columns: Sequence[str], lesion: bool | None = True) -> list[Row]:
    """Means over the slices of each head: neighbouring slices are too alike to count as cases of a test.

    Args:
        rows: of slices named HEAD_zNN or HEAD_NN.
        columns: that are averaged; an empty cell is left out.
        lesion: only slices with lesion, only those without, or None for both.

    Returns:
        a row for each head that has such slices, sorted by its name, under `case`.
    """
    heads: dict[str, list[Row]] = {}
    for row in rows:
        if lesion is None or (row["hit"] is not None) == lesion:
            heads.setdefault(str(row["case"]).rsplit("_", 1)[0], []).append(row)
    means: list[Row] = []
    for head, own in sorted(heads.items()):
        values = {name: [float(row[name]) for row in own if row.get(name) is not None] for name in columns}
        means.append(
            {
                "case": head,
                **{name: statistics.fmean(known) if known else None for name, known in values.items()},
            }
        )
    return means
