"""What the shipped weights find in synthetic heads of people whom no training has seen.

    python benchmarks/unseen.py --anatomy MAPS [--heads FOLDER] [--bundle NAME ...] [--weights NAME=FILE ...]

MAPS is the folder of label maps of docs/phantom.md. The heads are made of the three of them that the
overlay `anatomy` keeps out of every training; FOLDER keeps them for the next call. Any hemorrhage is the
truth; what a bundle calls it is scored by type beside it. `all` is the vote of all bundles. `--weights`
scores another file than the shipped one. `--validation DATALIST` scores the heads instead that chose the
weights, to choose a threshold too. `--write` puts tables and pictures into docs/results/unseen.md.
Synthetic results are never clinical ones.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine
from unseen_page import draw_curves, draw_worst, make_page

from headct.predict.model.bundle import BundleModel, Segmentation
from headct.predict.model.consensus import consensus
from headct.runs.find_bundle import every_bundle, find_bundle, find_weights
from headct.scores.overlay import OverlayCase
from tools.core.classes import CLASS_VALUES
from tools.phantom.outline import outlined
from tools.phantom.writer import write_phantoms
from tools.volumes.read import read_label, read_volume

MAPS = ("training_seg_05", "training_seg_09", "training_seg_18")
SEED = 40  # no overlay has it
PARTS = {"any": 24, "normal": 6}
"""Heads by kind; of those of the kind `any` some have no hemorrhage."""
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
BINS = 10
WORST = 10
ALL = "all"
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"


@dataclass
class Score:
    """One head by one bundle.

    Attributes:
        name: of the head.
        ml: volume of its hemorrhage.
        dice: of any hemorrhage; 1 where there is none and none was found.
        found: whether a voxel of it was found; None without hemorrhage.
        false_ml: what was found where there is none.
        dice_at, found_at, false_ml_at: the same by threshold of the probability.
        bins: (2, BINS) voxels with a probability of at least 0.01 by tenth, and how many of them bleed.
        types: voxels by type: true, found, both.
        picture: slices for the gallery.
    """

    name: str
    ml: float
    dice: float
    found: bool | None
    false_ml: float
    dice_at: list[float]
    found_at: list[bool]
    false_ml_at: list[float]
    bins: np.ndarray
    types: dict[str, tuple[int, int, int]]
    picture: OverlayCase | None = field(default=None, repr=False)


def make_heads(folder: Path, anatomy: Path) -> list[dict[str, Any]]:
    """Datalist entries with absolute paths; heads that are in the folder are kept."""
    items = []
    for number, (kind, cases) in enumerate(PARTS.items()):
        datalist = write_phantoms(
            folder / kind, cases, SEED + number, kind=kind, folds=1, anatomy=anatomy, maps=list(MAPS)
        )
        for item in json.loads(datalist.read_text())["training"]:
            items.append({"case": f"{kind}_{item['case']}", **paths_of(item, datalist)})
    return items


def score(name: str, image: Any, classes: Any, label: Any, probability: Any, typed: bool) -> Score:
    """Compare one label map (X, Y, Z) with the classes of the truth (X, Y, Z).

    Args:
        name: of the head.
        image: MetaTensor (1, X, Y, Z), HU.
        classes: truth, values of `CLASS_VALUES`.
        label: what was found, the same values, or 1 for any.
        probability: of any hemorrhage.
        typed: whether the values of `label` tell types.
    """
    spacing = [float(mm) for mm in image.pixdim]
    ml = float(np.prod(spacing)) / 1000
    truth, found = classes > 0, label > 0
    above = [probability >= threshold for threshold in THRESHOLDS]
    known = probability >= 0.01
    tenths = (probability[known] * BINS).long().clamp(max=BINS - 1)
    bins = [torch.bincount(tenths[chosen], minlength=BINS) for chosen in (slice(None), truth[known])]
    types = {}
    for kind, value in CLASS_VALUES.items():
        true, called = classes == value, (label == value) & typed
        types[kind] = int(true.sum()), int(called.sum()), int((true & called).sum())
    bleeds = bool(truth.any())
    return Score(
        name=name,
        ml=int(truth.sum()) * ml,
        dice=dice_of(truth, found),
        found=bool((truth & found).any()) if bleeds else None,
        false_ml=int((found & ~truth).sum()) * ml,
        dice_at=[dice_of(truth, one) for one in above],
        found_at=[bool((one & truth).any()) for one in above],
        false_ml_at=[int((one & ~truth).sum()) * ml for one in above],
        bins=torch.stack(bins).numpy(),
        types=types,
        picture=OverlayCase(name, image[0].half(), found, truth, spacing),
    )


def dice_of(truth: torch.Tensor, found: torch.Tensor) -> float:
    """Dice of two masks; 1 where both are empty."""
    either = int(truth.sum()) + int(found.sum())
    return 2 * int((truth & found).sum()) / either if either else 1.0


def validation_heads(datalist: Path) -> list[dict[str, Any]]:
    """Those of fold 0 of a datalist that a training with the overlay `anatomy` has made."""
    items = [item for item in json.loads(datalist.read_text())["training"] if item["fold"] == 0]
    return [{"case": item["case"], **paths_of(item, datalist)} for item in items]


def paths_of(item: Mapping[str, Any], datalist: Path) -> dict[str, Path]:
    """Absolute paths of what is scored."""
    return {key: datalist.parent / item[key] for key in ("image", "classes", "brain")}


def run(
    names: Sequence[str], items: Sequence[dict[str, Any]], weights: Mapping[str, Path]
) -> tuple[dict[str, list[Score]], dict[str, list[Score]]]:
    """Scores by bundle, and of their vote where there are several.

    Returns:
        against all blood, and against what of it can be seen (`tools.phantom.outline`).
    """
    models = {}
    for name in names:
        folder = find_bundle(name, "configs/inference.yaml")
        models[name] = BundleModel(folder, [weights[name]] if name in weights else find_weights(folder))
    every = [*names, *([ALL] if len(names) > 1 else [])]
    scores, seen = ({name: [] for name in every} for _ in range(2))
    for number, item in enumerate(items, 1):
        image = read_volume(item["image"], orientation=None)
        classes = read_label(item["classes"], orientation=None).as_tensor()[0].to(torch.uint8)
        brain = read_label(item["brain"], orientation=None).as_tensor()[0]
        x, y, _ = (float(mm) for mm in image.pixdim)
        outlines = outlined(classes[None], image.as_tensor(), brain[None], (x, y))[0]
        truths = ((scores, classes), (seen, outlines))
        parts: list[Segmentation] = []
        for name, model in models.items():
            parts.append(model.segment(image, uncertainty=False))
            label, probability = parts[-1].label, torch.as_tensor(parts[-1].probability)
            typed = len(model.names) == len(CLASS_VALUES)
            for into, truth in truths:
                into[name].append(score(item["case"], image, truth, label, probability, typed))
        if ALL in scores:
            mean = torch.stack([torch.as_tensor(part.probability) for part in parts]).mean(0)
            voted = consensus(parts)
            for into, truth in truths:
                into[ALL].append(score(item["case"], image, truth, voted, mean, False))
        print(f"{number}/{len(items)} {item['case']}", flush=True)
        for own in seen.values():
            own[-1].picture = None
        for own in scores.values():  # pictures of the worst alone are kept
            ranked = sorted((one for one in own if one.picture is not None), key=badness, reverse=True)
            for one in ranked[WORST:]:
                one.picture = None
    return scores, seen


def badness(one: Score) -> tuple[float, float]:
    """How bad a head went: its Dice first, then the false volume."""
    return (1 - one.dice, one.false_ml)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--anatomy", type=Path, help="folder of label maps")
    parser.add_argument("--validation", type=Path, help="datalist of the heads that chose the weights")
    parser.add_argument("--heads", type=Path, help="folder that keeps the heads")
    parser.add_argument("--bundle", nargs="*", default=every_bundle())
    parser.add_argument("--weights", nargs="*", default=[], metavar="NAME=FILE")
    parser.add_argument("--write", action="store_true", help="write docs/results/unseen.md")
    args = parser.parse_args()
    if (args.anatomy is None) == (args.validation is None) or (args.validation and args.write):
        parser.error("expected --anatomy, which --write needs, or --validation")
    weights = {name: Path(file) for name, _, file in (given.partition("=") for given in args.weights)}
    with tempfile.TemporaryDirectory() as temporary:
        if args.validation:
            items = validation_heads(args.validation)
        else:
            items = make_heads(args.heads or Path(temporary), args.anatomy)
        scores, seen = run(args.bundle, items, weights)
    page = make_page(scores, seen, THRESHOLDS, machine())
    print(f"\n{page}")
    if args.write:
        pictures = [draw_curves(scores, THRESHOLDS, RESULTS / "unseen.png")]
        for name, own in scores.items():
            worst = sorted((one for one in own if one.picture is not None), key=badness, reverse=True)
            pictures.append(draw_worst(worst, RESULTS / f"unseen_{name}.png"))
        page += "".join(f"\n![{path.stem}]({path.name})\n" for path in pictures)
        (RESULTS / "unseen.md").write_text(page)


if __name__ == "__main__":
    main()
