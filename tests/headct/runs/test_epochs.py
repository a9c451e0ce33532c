"""The epoch chosen over folds, from TensorBoard files and checkpoints like those of a training."""

from __future__ import annotations

import pytest
from torch.utils.tensorboard import SummaryWriter

from headct.runs.epochs import best_epoch, epoch_rows, epoch_table, epochs
from tools.core.errors import InputError

VALIDATION = {  # epoch: (IoU, Dice) of two folds
    2: ((0.5, 0.6), (0.7, 0.8)),
    4: ((0.7, 0.8), (0.7, 0.8)),
    6: ((0.9, 0.9), (0.3, 0.4)),
}


@pytest.fixture
def folds(tmp_path):
    for fold in range(2):
        folder = tmp_path / f"fold_{fold}"
        (folder / "models").mkdir(parents=True)
        with SummaryWriter(folder / "eval") as writer:
            for epoch in range(1, 7):
                writer.add_scalar("train_mean_iou", 0.1 * epoch, epoch)
                if epoch in VALIDATION:
                    iou, dice = VALIDATION[epoch][fold]
                    writer.add_scalar("val_mean_iou", iou, epoch)
                    writer.add_scalar("val_mean_dice", dice, epoch)
                    (folder / "models" / f"model_epoch={epoch}.pt").touch()
    return tmp_path


def test_best_over_folds_not_in_one(folds):
    rows = epoch_rows(sorted(folds.glob("fold_*")))
    assert [row["epoch"] for row in rows] == [2, 4, 6]
    assert rows[0]["val_mean_iou"] == pytest.approx(0.6)
    assert rows[0]["val_mean_iou_sd"] == pytest.approx(0.2 / 2**0.5)
    assert rows[0]["train_mean_iou"] == pytest.approx(0.2)
    assert rows[0]["train_mean_dice"] is None
    assert best_epoch(rows) == 4
    assert epoch_table(rows)[3] == "| **4** | **0.400** | **none** | **0.700 (0.000)** | **0.800 (0.000)** |"


def test_earliest_of_equals():
    rows = [{"epoch": epoch, "val_mean_iou": 0.5, "val_mean_dice": 0.5} for epoch in (300, 100, 200)]
    assert best_epoch(rows) == 100


def test_nan_is_the_worst():
    scores = {10: float("nan"), 20: 0.5, 30: float("nan")}
    assert best_epoch([{"epoch": k, "val_mean_iou": v, "val_mean_dice": v} for k, v in scores.items()]) == 20


def test_an_epoch_done_again_counts_as_it_was_last(folds):
    """Interrupted after epoch 6, whose checkpoint the training that went on wrote anew."""
    with SummaryWriter(folds / "fold_0" / "eval") as writer:
        writer.add_scalar("val_mean_iou", 0.1, 6)
    assert epoch_rows(sorted(folds.glob("fold_*")))[2]["val_mean_iou"] == pytest.approx((0.1 + 0.3) / 2)


def test_command(folds, capsys):
    epochs(str(folds))
    assert "best epoch: 4" in capsys.readouterr().out
    assert len((folds / "epochs.csv").read_text().splitlines()) == 4


def test_only_epochs_of_all_folds(folds):
    (folds / "fold_1" / "models" / "model_epoch=4.pt").unlink()
    assert [row["epoch"] for row in epoch_rows(sorted(folds.glob("fold_*")))] == [2, 6]


def test_refuses(folds, tmp_path):
    (folds / "fold_0" / "models" / "model_epoch=5.pt").touch()
    (folds / "fold_1" / "models" / "model_epoch=5.pt").touch()
    with pytest.raises(InputError, match="validation of epoch 5 in 2 folds, found 0"):
        epoch_rows(sorted(folds.glob("fold_*")))
    with pytest.raises(InputError, match="found none"):
        epochs(str(tmp_path / "nothing"))
    (tmp_path / "other" / "fold_0").mkdir(parents=True)
    with pytest.raises(InputError, match="checkpoint_every"):
        epochs(str(tmp_path / "other"))
