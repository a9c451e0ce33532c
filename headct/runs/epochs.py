"""Which checkpoint of a cross-validation to take: the epoch that is best over all folds (D-Unet, table 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from headct.runs.curves import read_scalars
from tools.core.errors import InputError
from tools.core.markdown import table
from tools.core.tables import Row, write_csv
from tools.report.summary import mean_sd

__all__ = ["best_epoch", "epoch_rows", "epoch_table", "epochs"]

CHECKPOINT = "model_epoch={}.pt"
SCORES = ("train_mean_iou", "train_mean_dice", "val_mean_iou", "val_mean_dice")


def epochs(folder: str | Path) -> None:
    """The checkpoints of a cross-validation, and the epoch with the best mean IoU and Dice over its folds.

    Args:
        folder: of one variant, with `fold_0`, `fold_1` ... as `crossval` leaves them. `epochs.csv` is
            written there.

    Raises:
        InputError: see `epoch_rows`.
    """
    rows = epoch_rows(sorted(Path(folder).glob("fold_*")))
    best = best_epoch(rows)
    write_csv(Path(folder) / "epochs.csv", [{"case": row["epoch"], **row} for row in rows])
    print("\n".join(epoch_table(rows)))
    print(f"\nbest epoch: {best}; in each fold {Path('models', CHECKPOINT.format(best))}")


def epoch_rows(folds: Sequence[Path]) -> list[Row]:
    """Scores of every checkpoint that all folds have.

    Args:
        folds: folders with checkpoints in `models` and TensorBoard files in `eval`.

    Returns:
        rows with `epoch`, `folds`, and for training and validation mean and standard deviation over the folds
        of IoU and Dice (`val_mean_iou`, `val_mean_iou_sd` ...); training scores are None where they were not
        logged.

    Raises:
        InputError: no fold, no checkpoint that all folds have, or one that was not validated.
    """
    if not folds:
        raise InputError("epochs: expected the folders of a cross-validation (fold_0 ...), found none")
    kept = [{_number(file) for file in (fold / "models").glob(CHECKPOINT.format("*"))} for fold in folds]
    common = sorted(set.intersection(*kept))
    if not common:
        raise InputError(
            f"{folds[0].parent}: expected checkpoints ({CHECKPOINT.format('N')}) that all {len(folds)} folds "
            "have, found none; train with another `checkpoint_every`"
        )
    curves = []
    for fold in folds:
        scalars = read_scalars(fold / "eval")
        curves.append({tag: dict(zip(*scalars[tag], strict=True)) for tag in SCORES if tag in scalars})
    rows = []
    for epoch in common:
        row: Row = {"epoch": epoch, "folds": len(folds)}
        for tag in SCORES:
            values = [float(curve[tag][epoch]) for curve in curves if epoch in curve.get(tag, {})]
            if len(values) < len(folds) and tag.startswith("val"):
                raise InputError(
                    f"{folds[0].parent}: expected a validation of epoch {epoch} in {len(folds)} folds, found "
                    f"{len(values)}; `val_interval` must divide `checkpoint_every`"
                )
            row[tag], row[f"{tag}_sd"] = mean_sd(values) if values else (None, None)
        rows.append(row)
    return rows


def best_epoch(rows: Sequence[Row]) -> int:
    """The epoch whose validation has the highest mean of IoU and Dice; the earliest of equals, NaN the worst.

    The paper takes the epoch that is highest in both; where two epochs are highest in one each, their mean
    decides.
    """

    def rank(row: Row) -> tuple[bool, float, int]:
        score = row["val_mean_iou"] + row["val_mean_dice"]
        return not math.isnan(score), score, -row["epoch"]

    return int(max(rows, key=rank)["epoch"])


def epoch_table(rows: Sequence[Row]) -> list[str]:
    """Lines of a Markdown table like the paper's: mean (standard deviation) over the folds; best in bold."""

    def cell(row: Row, tag: str) -> str:
        if row[tag] is None:
            return "none"
        sd = row[f"{tag}_sd"]
        return f"{row[tag]:.3f}" + ("" if sd is None or tag.startswith("train") else f" ({sd:.3f})")

    best = best_epoch(rows)
    lines = []
    for row in rows:
        cells = [str(row["epoch"]), *(cell(row, tag) for tag in SCORES)]
        lines.append([f"**{text}**" for text in cells] if row["epoch"] == best else cells)
    return table(["epochs", "train IoU", "train Dice", "validation IoU", "validation Dice"], lines)


def _number(file: Path) -> int:
    return int(file.stem.split("=")[1])
