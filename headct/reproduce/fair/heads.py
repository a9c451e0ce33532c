"""Heads for a fair test: the anatomy of real people, and tests on people whom no training has seen.

The label maps of a folder are divided once: heads to train on are made of the first of them, heads to test
on of the last. So a network that has learned a person's anatomy by heart gains nothing from it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.core.errors import InputError
from tools.core.tables import write_json
from tools.phantom.anatomy.maps import list_maps, stem
from tools.phantom.writer import write_phantoms

__all__ = ["FairHeads", "divide_maps", "write_fair_heads", "write_fewer_heads"]

TEST_SHARE = 0.3
FILES = {"image", "label", "classes", "brain", "ventricles", "truth"}


@dataclass(frozen=True)
class FairHeads:
    """How many heads of which kinds are made.

    Args:
        training: heads to train on, by kind of `tools.phantom.kinds`.
        validation: further heads of the same people for fold 0, by kind; the others are fold 1.
        testing: heads to test on, by kind.
        lesion: types that make up the label, such as `iph`; None for all.
        shape: voxels along right, anterior, superior.
        spacing: size of a voxel in mm.
        seed: of everything random.
        per_person: heads in a row that show the same person, each with its own blood, pose and scan.
    """

    training: Mapping[str, int]
    validation: Mapping[str, int]
    testing: Mapping[str, int]
    shape: Sequence[int]
    spacing: Sequence[float]
    lesion: str | None = None
    seed: int = 5
    per_person: int = 2

    def words(self) -> str:
        """What is made, for a page."""
        counts = [sum(part.values()) for part in (self.training, self.validation, self.testing)]
        shape, spacing = ("x".join(map(str, values)) for values in (self.shape, self.spacing))
        return (
            f"synthetic heads with the anatomy of real people (`tools.phantom`, seed {self.seed}, {shape} "
            "voxels of "
            f"{spacing} mm): {counts[0]} to train on, {counts[1]} to validate, {counts[2]} to test"
        )


def divide_maps(anatomy: str | Path | None) -> tuple[list[str], list[str]]:
    """Names of the label maps for training and for testing, the last three in ten.

    Args:
        anatomy: folder of label maps.

    Raises:
        InputError: no folder was named, it is missing, or it holds fewer than two maps.
    """
    if anatomy is None:
        raise InputError("anatomy: expected a folder of label maps (see docs/phantom.md), found none")
    names = [stem(path) for path in list_maps(anatomy)]
    if len(names) < 2:
        raise InputError(
            f"{anatomy}: expected at least two label maps, one to train and one to test, found {len(names)}"
        )
    tested = max(1, round(TEST_SHARE * len(names)))
    return names[:-tested], names[-tested:]


def write_fair_heads(folder: Path, anatomy: str | Path | None, heads: FairHeads) -> Path:
    """Make the heads, but those that are there, and the datalist of all of them.

    Args:
        folder: to write to: `training/KIND`, `testing/KIND` and `dataset.json`.
        anatomy: folder of label maps.
        heads: what to make.

    Returns:
        the datalist. Its cases are named `KIND_000` and so on, those of the tests `test_KIND_000`.

    Raises:
        InputError: see `divide_maps`.
    """
    for_training, for_testing = divide_maps(anatomy)
    content: dict[str, Any] = {
        "labels": {"0": "background", "1": "hemorrhage"},
        "training": [],
        "testing": [],
    }
    both = {kind: heads.training.get(kind, 0) + count for kind, count in heads.validation.items()}
    parts = (("training", {**heads.training, **both}, for_training), ("testing", heads.testing, for_testing))
    for number, (part, kinds, maps) in enumerate(parts):
        for place, (kind, count) in enumerate(kinds.items()):
            if not count:
                continue
            own = Path(part, kind.replace("+", "_"))
            options: dict[str, Any] = {"seed": heads.seed + 100 * number + place, "lesion": heads.lesion}
            written = write_phantoms(
                folder / own, count, shape=heads.shape, spacing=heads.spacing, kind=kind, folds=1,
                anatomy=str(anatomy), maps=maps, per_person=heads.per_person, **options,
            )  # fmt: skip
            items = json.loads(written.read_text())["training"]
            validated = heads.validation.get(kind, 0) if part == "training" else 0
            for index, item in enumerate(items):
                content[part].append(_entry(item, own, part, 0 if index >= count - validated else 1))
    return write_json(folder / "dataset.json", content)


def write_fewer_heads(datalist: Path, folder: Path, count: int) -> Path:
    """Write a datalist with fewer heads to train on; those that validate and test stay.

    Args:
        datalist: of `write_fair_heads`.
        folder: to write `dataset.json` to.
        count: heads to train on, the first ones, as many of each kind.

    Raises:
        InputError: they cannot be divided equally among the kinds, or there are fewer.
    """
    content = json.loads(datalist.read_text())
    kinds: dict[str, list[dict[str, Any]]] = {}
    for item in content["training"]:
        if item["fold"] != 0:
            kinds.setdefault(str(item["case"]).rsplit("_", 1)[0], []).append(item)
    each, rest = divmod(count, max(len(kinds), 1))
    if rest or not each or any(len(items) < each for items in kinds.values()):
        there = ", ".join(f"{len(items)} {kind}" for kind, items in kinds.items()) or "none"
        raise InputError(
            f"{datalist}: expected {count} heads to train on, equally of each kind, found {there}"
        )
    kept = [item for items in kinds.values() for item in items[:each]]
    validated = [item for item in content["training"] if item["fold"] == 0]
    lists = {"training": [*kept, *validated], "testing": content["testing"]}
    for part, items in lists.items():
        content[part] = [
            {
                **item,
                **{key: os.path.relpath(datalist.parent / item[key], folder) for key in FILES & item.keys()},
            }
            for item in items
        ]
    return write_json(folder / "dataset.json", content)


def _entry(item: Mapping[str, Any], own: Path, part: str, fold: int) -> dict[str, Any]:
    """An entry of one kind's datalist as one of the whole."""
    number = str(item["case"]).removeprefix("case_")
    name = f"{'test_' if part == 'testing' else ''}{own.name}_{number}"
    paths = {key: str(own / item[key]) for key in FILES & item.keys()}
    entry = {**item, **paths, "case": name, "patient": name}
    entry.pop("fold", None)
    return entry if part == "testing" else {**entry, "fold": fold}
