"""The fair test of Hssayeni 2020: its rows, thresholds and ages, and a page counted by hand."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from headct.reproduce.fair import hssayeni2020 as fair
from headct.reproduce.fair.hssayeni2020_page import ages_table, draw, make_page, telling_slices
from headct.reproduce.fair.thresholds import best_threshold, detection_tables, dice_by_threshold
from headct.reproduce.slice_scores import Scores
from headct.runs.find_bundle import check_keys, config_files, find_bundle

AGES = {"t": 30.0, "u": 50.0, "v": 40.0, "w": 70.0}


def test_rows_are_configurations_of_the_bundle():
    folder = find_bundle(fair.BUNDLE)
    for row in fair.ROWS.values():
        check_keys(folder, config_files(folder, row.overlays), {**fair.KEYS, **row.keys, "seed": 1})
    assert fair.STEPS <= fair.KEYS["max_epochs"] * fair.EPOCH < 1.1 * fair.STEPS
    assert fair.KEYS["max_epochs"] % fair.KEYS["val_interval"] == 0


def test_both_networks_take_as_many_steps_and_pixels():
    for name, side in (("slices", fair.SIDE), ("windows", fair.WINDOW)):
        keys = fair.ROWS[name].keys
        assert keys["patches_per_case"] * fair.TRAINED == keys["batch_size"] * fair.EPOCH
        assert keys["batch_size"] * side**2 == 2 * 192**2
    keys = fair.ROWS["windows"].keys
    assert (fair.SIDE - fair.WINDOW) // keys["window_stride"] + 1 == 7  # 49 windows a slice, as in the paper


def row(case, dice, lesion=True, fp=0):
    found = (
        {"hit": int(dice > 0), "false_alarm": None} if lesion else {"hit": None, "false_alarm": int(fp > 0)}
    )
    scores = {"dice": dice, "iou": dice / 2, "precision": dice, "recall": dice}
    return {"case": case, **scores, **found, "large": True if lesion else None, "fp": fp}


def scores(*dice):
    """Four heads with a lesion in the second of two slices; false pixels in the first of all but one."""
    rows = [row(f"{head}_02", value) for head, value in zip(AGES, dice, strict=True)]
    rows += [row(f"{head}_01", 0.0, False, fp) for head, fp in zip(AGES, (3, 0, 9, 1), strict=True)]
    curve = ([1.0, 0.8, 0.5, 0.0], [0.1, 0.2, 0.5, 1.0])
    found = [
        {"threshold": t, "sensitivity": s, "specificity": p, "accuracy": 0.5}
        for t, s, p in ((0.5, 1.0, 0.25), (0.6, 0.75, None))
    ]
    return Scores(rows, 0.4, curve, [0.0, 0.25, 0.5, 0.75], found)


def test_dice_at_every_threshold():
    own = scores(0.2, 0.4, 0.6, 0.8)
    assert dice_by_threshold(own) == pytest.approx([2 / 11, 0.32, 0.5, 0.0])
    assert best_threshold(own) == (0.5, 0.5)
    assert best_threshold(Scores([])) is None


def test_slices_by_threshold():
    two = scores(0, 0, 0, 0)
    two.detection[0]["sensitivity"] = 0.5
    lines = detection_tables(
        {"windows": {0: scores(0, 0, 0, 0), 1: two}}, {"windows": {0.5: (97.2, 50.4, 56.6)}}
    )
    assert lines[2] == "| windows | 0.5 | 97.2 | 75.0 | 50.4 | 25.0 | 56.6 | 50.0 |"
    assert lines[3] == "| windows | 0.6 |  | 75.0 |  | none |  | 50.0 |"


def test_ages_by_hand():
    """Median 45 years: t and v are younger. Means over two seeds."""
    found = {
        "windows": {0: scores(0.2, 0.4, 0.6, 0.8), 1: scores(0.4, 0.4, 0.6, 0.8)},
        "slices": {0: scores(*[0.0] * 4)},
    }
    lines = ages_table(found, AGES)
    assert lines[2].startswith("| windows | 0.450 (2) | 0.600 (2) | ")
    assert lines[3] == "| slices | 0.000 (2) | 0.000 (2) | 1 | 1 |"


def test_slices_that_are_shown():
    assert telling_slices(scores(0.2, 0.4, 0.6, 0.8).rows, 2) == {
        "highest Dice": [("w", 2), ("v", 2)],
        "most false pixels": [("v", 1), ("t", 1)],
    }
    twice = [row("t_02", 0.9), row("t_03", 0.8), row("u_01", 0.1)]
    assert telling_slices(twice, 2) == {"highest Dice": [("t", 2), ("u", 1)], "most false pixels": []}


def test_page(tmp_path):
    items = {}
    folder = tmp_path / "windows_seed_0" / "run" / "eval" / "predictions"
    folder.mkdir(parents=True)
    for number, case in enumerate(AGES):
        items[case] = {"case": case, "image": f"{case}.nii.gz", "label": f"{case}_label.nii.gz"}
        image, mask = np.full((16, 16, 2), 10.0 * number, np.float32), np.zeros((16, 16, 2), np.uint8)
        mask[4:8, 4:8, 1] = 1
        for path, volume in ((items[case]["image"], image), (items[case]["label"], mask)):
            nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / path)
        nib.save(nib.Nifti1Image(mask, np.eye(4)), folder / f"{case}_seg.nii.gz")
    found = {"windows": {0: scores(0.2, 0.4, 0.6, 0.8), 1: scores(0.2, 0.4, 0.6, 0.72)}}
    pictures = draw(found, tmp_path, items, tmp_path, tmp_path)
    keys = {**fair.KEYS, "steps": 64, "window": 48, "slices": 2, "windows": 32}
    page = make_page("cmd", tuple(fair.ROWS), found, keys, AGES, pictures)
    assert "| windows | 2 | 0.218 | 0.245 ± 0.007 | 0.315 | 0.490 ± 0.014 | 0.490 ± 0.014 | no case |" in page
    assert "1.000 ± 0.000 | 0.750 ± 0.000 |" in page  # location accuracy, false alarms
    assert "| windows | 0.400 ± 0.000 | 0.500 ± 0.000 | 0.500 ± 0.000 | 0.500 ± 0.000 |" in page
    assert "3072 steps, of 2 slices or 32 windows" in page
    assert "median age of 45 years: 2 and 2 heads" in page
    assert "Not run here: `threshold`, `slices`." in page
    assert [picture.name for picture in pictures] == ["hssayeni2020_fair.png", "hssayeni2020_fair_slices.png"]
    assert all(f"]({picture.name})" in page for picture in pictures)
