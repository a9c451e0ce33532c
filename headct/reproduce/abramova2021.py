"""Abramova 2021 (`se_unet3d`): tables 2 to 5, loss and patch size, cross-validated on synthetic heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headct.reproduce import Setting, among
from headct.reproduce.configurations import Configuration, run_configurations
from headct.reproduce.false_positives import false_positive_table, places_by_head
from headct.reproduce.page import beside_table, markdown, order_agreement, paired_table, provenance
from tools.core.tables import Row
from tools.report.summary import GROUPS, mean_sd

__all__ = ["ROWS", "TABLES", "Options", "reproduce"]

BUNDLE = "se_unet3d"

#: Every configuration that the paper compared, as overlays of the bundle. Those without a further word are
#: the 3D SE U-Net with Dice and cross-entropy on patches of 32x32x16, on the original image alone.
ROWS: dict[str, tuple[str, ...]] = {
    "unet3d": ("sampling_brain", "no_symmetric", "unet3d"),
    "none": ("sampling_none", "no_symmetric"),
    "brain": ("sampling_brain", "no_symmetric"),
    "border": ("sampling_brain_border", "no_symmetric"),
    "border_centre": ("sampling_brain_border_centre", "no_symmetric"),
    "border_ivh": ("sampling_brain_border_ivh", "no_symmetric"),
    "focal": ("sampling_brain_border", "no_symmetric", "focal"),
    "patch_24x24x8": ("sampling_brain_border_centre", "no_symmetric", "patch_24x24x8"),
    "patch_48x48x24": ("sampling_brain_border_centre", "no_symmetric", "patch_48x48x24"),
    "border_symmetric": ("sampling_brain_border",),
    "border_centre_symmetric": ("sampling_brain_border_centre",),
    "border_ivh_symmetric": ("sampling_brain_border_ivh",),
    "final": (),
    "augmentation_500x6": ("augmentation_500x6",),
    "augmentation_1000x6": ("augmentation_1000x6",),
    "augmentation_1500x6": ("augmentation_1500x6",),
    "augmentation_3000x6": ("augmentation_3000x6",),
}


@dataclass(frozen=True)
class Table:
    """One comparison of the paper.

    Args:
        title: what is compared, and where in the paper.
        paper: DSC of all cases, of those with and without IVH, and least DSC; None where the paper has none.
        pairs: rows that are tested against each other, the second expected to be better unless noted.
    """

    title: str
    paper: Mapping[str, tuple[float | None, float | None, float | None, float | None]]
    pairs: Sequence[tuple[str, str]]


TABLES = (
    Table(
        "Squeeze-and-excitation (table 2)",
        {"unet3d": (0.765, 0.640, 0.787, None), "brain": (0.828, 0.683, 0.852, None)},
        [("unet3d", "brain")],
    ),
    Table(
        "Loss (section 3.2): focal, or Dice and cross-entropy",
        {"focal": (0.796, None, None, None), "border": (0.841, 0.692, 0.866, 0.530)},
        [("focal", "border")],
    ),
    Table(
        "Where negative patches come from (table 3)",
        {
            "none": (0.599, 0.546, 0.608, 0.028),
            "brain": (0.807, 0.664, 0.831, 0.183),
            "border": (0.841, 0.692, 0.866, 0.530),
            "border_centre": (0.842, 0.699, 0.867, 0.435),
            "border_ivh": (0.823, 0.687, 0.846, 0.306),
        },
        [("none", "brain"), ("brain", "border"), ("border", "border_centre"), ("border", "border_ivh")],
    ),
    Table(
        "Patch size (section 3.3)",
        {
            "patch_24x24x8": (0.759, None, None, None),
            "border_centre": (0.842, 0.699, 0.867, 0.435),
            "patch_48x48x24": (0.805, None, None, None),
        },
        [("patch_24x24x8", "border_centre"), ("border_centre", "patch_48x48x24")],
    ),
    Table(
        "The mirrored brain as second channel (table 4)",
        {
            "border": (0.841, 0.692, 0.866, 0.530),
            "border_symmetric": (0.849, 0.720, 0.871, 0.530),
            "border_centre": (0.842, 0.699, 0.867, 0.435),
            "border_centre_symmetric": (0.856, 0.728, 0.878, 0.553),
            "border_ivh": (0.823, 0.687, 0.846, 0.306),
            "border_ivh_symmetric": (0.857, 0.728, 0.879, 0.581),
            "final": (0.862, 0.777, 0.876, 0.632),
        },
        [
            ("border", "border_symmetric"),
            ("border_centre", "border_centre_symmetric"),
            ("border_ivh", "border_ivh_symmetric"),
            ("border_ivh_symmetric", "final"),
            ("border_symmetric", "final"),
        ],
    ),
    Table(
        "Augmentation (table 5)",
        {
            "final": (0.862, 0.777, 0.876, 0.632),
            "augmentation_500x6": (0.845, None, None, None),
            "augmentation_1000x6": (0.866, None, None, None),
            "augmentation_1500x6": (0.846, None, None, None),
            "augmentation_3000x6": (0.868, None, None, None),
        },
        [("final", f"augmentation_{n}x6") for n in (500, 1000, 1500, 3000)],
    ),
)

#: `--quick`: the comparisons that carry the paper's argument, on coarse heads and with few small patches.
QUICK_ROWS = ("unet3d", "none", "brain", "border", "border_symmetric", "final")
QUICK_FOLDS, FULL_FOLDS = 2, 5
QUICK: dict[str, Any] = {
    "phantom": {"cases": 24, "seed": 5, "kind": "iph_ivh", "shape": [96, 96, 26], "spacing": [2.2, 2.2, 6.0]},
    "overlap": 0.5,
    "roi_size": [24, 24, 8],
    "patches_per_case": 100,
    "batch_size": 16,
    "max_epochs": 8,
    "val_interval": 8,
}
FULL: dict[str, Any] = {
    "phantom": {
        "cases": 76,
        "seed": 5,
        "kind": "iph_ivh",
        "shape": [256, 256, 32],
        "spacing": [0.9, 0.9, 5.0],
    }
}

PLACES_TEXT = (
    "Mean volume per head in mL: of the lesion, found and missed; and of what is none, up to 7 mm beside "
    "one, in the ventricles, within 7 mm of the brain's surface, and deeper."
)


@dataclass(frozen=True)
class Options:
    """What can be chosen besides `Setting`.

    Args:
        rows: keys of `ROWS`; None for those of the size.
        folds: of the cross-validation; None for as many as the size has.
    """

    rows: Sequence[str] | None = None
    folds: int | None = None


def reproduce(setting: Setting, options: Options) -> str:
    """Cross-validate the rows, and return the page."""
    size = QUICK_ROWS if setting.quick else tuple(ROWS)
    names = among(size if options.rows is None else options.rows, tuple(ROWS), "rows")
    folds = options.folds or (QUICK_FOLDS if setting.quick else FULL_FOLDS)
    keys = {
        **(QUICK if setting.quick else FULL),
        "phantom_dir": setting.work_dir / "data",
        "cache_dir": setting.work_dir / "cache",
        **setting.keys,
    }
    keys["dataset_dir"] = keys["phantom_dir"]
    keys["phantom"] = {**keys["phantom"], "folds": folds}
    configurations = [Configuration(name, BUNDLE, ROWS[name]) for name in names]
    runs = setting.work_dir / "runs"
    tables = run_configurations(configurations, runs, keys, folds, jobs=setting.jobs)
    datalist = Path(keys["dataset_dir"], "dataset.json")
    places = false_positive_table(places_by_head(datalist, {name: [runs / name] for name in names}))
    return make_page(setting.command, tables, keys, folds, setting.quick, places)


def make_page(
    command: str,
    tables: Mapping[str, Sequence[Row]],
    keys: Mapping[str, Any],
    folds: int,
    quick: bool,
    places: Sequence[str] = (),
) -> str:
    """The page of what was run.

    Args:
        command: that ran it.
        tables: rows of `per_case.csv` by key of `ROWS`.
        keys: of the configuration, the same for all.
        folds: of the cross-validation.
        quick: whether this is `--quick`.
        places: lines of a table of where false positives lie; may be empty.
    """
    phantom, cases = keys["phantom"], next(iter(tables.values()))
    shape, spacing = ("x".join(map(str, phantom[key])) for key in ("shape", "spacing"))
    patch = "x".join(map(str, keys.get("roi_size", (32, 32, 16))))
    epochs = keys.get("max_epochs", "at most 100, patience 15")
    last = keys.get("val_interval", 1) == epochs  # then there is no other epoch to choose
    chosen = (
        "weights of the last epoch"
        if last
        else "weights of the epoch that was best on a fifth of the training cases"
    )
    about = provenance(
        command,
        f"synthetic heads (`tools.phantom`, seed {phantom['seed']}, {shape} voxels of {spacing} mm)",
        f"{folds}-fold cross-validation by patient, {chosen}",
        f"{len(cases)}, each scored once; {sum(map(GROUPS['ivh'], cases))} with IVH",
        {
            "patches": f"{keys.get('patches_per_case', 3000)} of {patch} voxels per case and epoch",
            "epochs": str(epochs),
            "size": "quick" if quick else "full",
        },
    )
    parts: list[str | Sequence[str]] = [about]
    left_out = [name for name in ROWS if name not in tables]
    if left_out:
        parts.append(f"Not run here: {', '.join(f'`{name}`' for name in left_out)}.")
    parts.append(
        "CT angiography as a further channel (0.834 to 0.795 in the paper) is not run: synthetic heads have "
        "none. Figures are mean ± sd (cases). The paper's are of 76 patients, ours of synthetic heads: only "
        "the order of the rows can be compared, not the figures."
    )
    for table in TABLES:
        own = {name: tables[name] for name in table.paper if name in tables}
        if own:
            parts += [f"## {table.title}", *_comparison(table, own)]
    parts += ["## The paper's main claim", _claim(tables)]
    if places:
        parts += ["## Where false positives lie", PLACES_TEXT, places]
    parts += [
        "## What each row is",
        "\n".join(f"- `{name}`: {_overlays(name)}" for name in ROWS if name in tables),
    ]
    return markdown("Abramova 2021 on synthetic heads", *parts)


def _comparison(table: Table, tables: Mapping[str, Sequence[Row]]) -> list[str | list[str]]:
    """Table beside the paper's, paired tests, and what can be said of the order."""
    columns: dict[str, Callable[[Sequence[Row]], str] | tuple[str, str]] = {
        "DSC": ("dice", "all"),
        "with IVH": ("dice", "ivh"),
        "without IVH": ("dice", "no_ivh"),
        "least DSC": lambda rows: f"{min(row['dice'] for row in rows):.3f}",
    }
    paper = {name: dict(zip(columns, figures, strict=True)) for name, figures in table.paper.items()}
    tests = paired_table(tables, table.pairs, groups=("all", "ivh", "no_ivh"))
    order = order_agreement(
        {name: figures[0] for name, figures in table.paper.items() if figures[0] is not None},
        {name: _mean(rows) for name, rows in tables.items()},
    )
    return [beside_table(paper, tables, columns), *([tests] if tests else []), order]


def _claim(tables: Mapping[str, Sequence[Row]]) -> str:
    """The final model against negatives from the whole brain, in the cases with IVH."""
    if "brain" not in tables or "final" not in tables:
        return "Not tested: it takes the rows `brain` and `final`."
    before, after = (_mean(tables[name], "ivh") for name in ("brain", "final"))
    verdict = "holds" if after > before else "does not hold"
    text = (
        "With the mirrored brain, and 30 % of the negatives from around the lesion or from intraventricular "
        "blood, cases with IVH are segmented better than with negatives from the brain (paper: 0.664 to "
        f"0.777). Here: {before:.3f} to {after:.3f}; in the mean of these cases it **{verdict}**."
    )
    tests = paired_table(tables, [("brain", "final")], groups=("all", "ivh", "no_ivh"))
    return "\n".join([text, "", *tests])


def _mean(rows: Sequence[Row], group: str = "all") -> float:
    values = [float(row["dice"]) for row in rows if GROUPS[group](row)]
    return mean_sd(values)[0] if values else float("nan")


def _overlays(name: str) -> str:
    return ", ".join(f"`{overlay}`" for overlay in ROWS[name]) or "`configs/train.yaml` as it is"
