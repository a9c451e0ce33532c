"""Slices of fair tests: what a leak shows, and pages of D-Unet and Li 2021 counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from headct.reproduce.fair import dunet as dunet_fair
from headct.reproduce.fair import li2021 as li2021_fair
from headct.reproduce.fair.dunet_page import draw as dunet_draw
from headct.reproduce.fair.dunet_page import make_page
from headct.reproduce.fair.li2021_page import draw
from headct.reproduce.fair.li2021_page import make_page as li_page
from headct.reproduce.fair.slices import by_head, split_slices
from headct.reproduce.outlines import outlined_slices
from headct.reproduce.slice_scores import Scores
from headct.runs.find_bundle import check_keys, config_files, find_bundle
from tools.data.datalist import load_datalist

PARTS = {"a": "training", "b": "training", "c": "training", "v": "training", "t": "testing", "u": "testing"}


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Six heads of 12 slices that show brain from the second on, and blood in four."""
    folder = tmp_path_factory.mktemp("heads")
    content = {"labels": {"0": "background", "1": "hemorrhage"}, "training": [], "testing": []}
    for case, part in PARTS.items():
        brain = np.ones((8, 8, 12), np.int16)
        brain[..., 0] = 0
        label = np.zeros_like(brain)
        label[2:5, 2:5, 4:8] = 1
        for name, volume in (("image", 30 * brain), ("label", label), ("brain", brain)):
            nib.save(nib.Nifti1Image(volume, np.diag([2.0, 2, 5, 1])), folder / f"{case}_{name}.nii.gz")
        item = {"case": case, **{name: f"{case}_{name}.nii.gz" for name in ("image", "label", "brain")}}
        content[part].append({**item, "fold": int(case != "v")} if part == "training" else item)
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder / "dataset.json"


def test_the_leak_is_the_only_difference(heads, tmp_path):
    places = split_slices(heads, tmp_path)
    by = {split: json.loads((place / "dataset.json").read_text()) for split, place in places.items()}
    assert by["patient"]["testing"] == by["slice"]["testing"]
    shown = {split: [item for item in lists["training"] if item["fold"]] for split, lists in by.items()}
    assert (
        len(shown["patient"]) == len(shown["slice"]) == 24
    )  # three heads, four slices with blood, four without
    assert sum(item["hemorrhage"] for item in shown["patient"]) == 12
    assert {item["patient"] for item in shown["patient"]} == {"a", "b", "c"}
    assert {item["patient"] for item in shown["slice"]} == {"a", "b", "c", "t", "u"}
    tested = {item["case"] for item in by["slice"]["testing"]}
    assert not tested & {item["case"] for item in shown["slice"]}
    assert {item["patient"] for item in by["slice"]["testing"]} == {"t", "u"}
    validated = [[item for item in lists["training"] if not item["fold"]] for lists in by.values()]
    assert validated[0] == validated[1]
    for item in by["slice"]["testing"]:
        assert (places["slice"] / item["image"]).resolve().is_file()
        assert item["slice"] > 1  # the first shows no brain
        assert item["slice"] % 2 == 0


def slices(*dice):
    """Two heads: two slices with blood and one without each."""
    names = ("t_z02", "t_z04", "t_z06", "u_z02", "u_z04", "u_z06")
    rows = []
    for number, (case, value) in enumerate(zip(names, dice, strict=True)):
        blood = number % 3 < 2
        scores = {"dice": value, "iou": value / (2 - value), "precision": value, "recall": value}
        found = {"hit": int(value > 0) if blood else None, "false_alarm": None if blood else int(value == 0)}
        rows.append({"case": case, **scores, **found, "large": number < 2 if blood else None})
    return rows


def test_means_of_heads():
    rows = slices(0.2, 0.4, 1.0, 0.6, 0.6, 0.0)
    assert by_head(rows, ("dice", "hit")) == [
        {"case": "t", "dice": pytest.approx(0.3), "hit": 1},
        {"case": "u", "dice": pytest.approx(0.6), "hit": 1},
    ]  # fmt: skip
    assert [row["dice"] for row in by_head(rows, ("dice",), lesion=False)] == [1.0, 0.0]


def test_page_of_dunet():
    patient, slice_ = slices(0.2, 0.4, 1.0, 0.6, 0.6, 0.0), slices(0.3, 0.5, 1.0, 0.7, 0.9, 0.0)
    tables = {"D-Unet by patient": {0: patient, 1: patient}, "D-Unet by slice": {0: slice_, 1: patient}}
    item = {"patient": "t", "hemorrhage": True, "fold": 1}
    keys = {**dunet_fair.KEYS, "max_epochs": 100}
    page = make_page(
        "cmd", ("U-Net by slice", *tables), tables, {"training": [item], "testing": [item]}, keys, 30
    )
    assert "| D-Unet by patient | 2 |  | 0.450 ± 0.000 |" in page
    assert "| D-Unet by slice | 2 | 0.84 (0.03) | 0.525 ± 0.106 |" in page
    assert "| D-Unet | +0.075 ± 0.106 | +0.150, +0.000 |" in page
    assert "| D-Unet by patient | D-Unet by slice | all | 2 | +0.075 |" in page
    assert "for 3000 steps in batches of 4" in page
    assert "Not run here: `U-Net by slice`." in page


def test_pictures_of_dunet(heads, tmp_path):
    """Each tested slice has a prediction of its own; they are shown as one head."""
    places = split_slices(heads, tmp_path / "data")
    tested = load_datalist(places["patient"] / "dataset.json", label_values=None)["testing"]
    found = tmp_path / "D-Unet by patient_seed_0" / "run" / "eval" / "predictions"
    found.mkdir(parents=True)
    for item in tested:
        flat = np.zeros((8, 8, 1), np.uint8)
        flat[3, 3] = item["slice"]
        nib.save(nib.Nifti1Image(flat, np.diag([2.0, 2, 5, 1])), found / f"{item['case']}_seg.nii.gz")
    head = [item for item in tested if item["patient"] == "t"]
    case = outlined_slices(Path(), head, tmp_path / "D-Unet by patient_seed_0", "title")
    assert case.pred[3, 3].tolist() == [item["slice"] for item in head]
    assert case.truth[3, 3].tolist() == [float(item["hemorrhage"]) for item in head]
    rows = [{"case": item["case"], "dice": 0.5, "hit": 1 if item["hemorrhage"] else None} for item in tested]
    pictures = dunet_draw({"D-Unet by patient": {0: rows}}, tested, tmp_path, 30, tmp_path)
    assert [picture.name for picture in pictures] == ["dunet_fair.png", "dunet_fair_slices.png"]


def test_page_of_li2021(tmp_path, heads):
    one, two = slices(0.2, 0.4, 1.0, 0.6, 0.0, 0.0), slices(0.4, 0.4, 1.0, 0.6, 0.0, 0.0)
    curve = ([1.0, 0.5], [0.2, 0.9])
    scores = {
        "UNet6": {0: Scores(one, 0.5, curve), 1: Scores(two, 0.7, curve)},
        "UNet6Dil": {0: Scores(two, 0.5, curve)},
    }
    for name in scores:
        folder = tmp_path / f"{name}_seed_0" / "run" / "eval" / "predictions"
        folder.mkdir(parents=True)
        for case in ("t", "u"):
            (folder / f"{case}_seg.nii.gz").write_bytes((heads.parent / f"{case}_label.nii.gz").read_bytes())
    pictures = draw(scores, heads, tmp_path, tmp_path)
    page = li_page("cmd", tuple(li2021_fair.ROWS), scores, li2021_fair.KEYS, pictures)
    assert "| UNet6 | 2 | 0.958 | 1.000 ± 0.000 | 0.551 | 0.500 ± 0.000 |  | 0.325 ± 0.035 |" in page
    assert "6 test slices, 2 with a large and 2 with a small lesion" in page
    assert "| UNet6 | UNet6Dil | all | 2 | +0.050 |" in page
    assert [picture.name for picture in pictures] == ["li2021_fair.png", "li2021_fair_heads.png"]
    assert all(f"]({picture.name})" in page and picture.stat().st_size < 300_000 for picture in pictures)


def test_rows_are_configurations_of_the_bundles():
    dunet, gan = find_bundle("dunet"), find_bundle("gan_unet2d")
    for overlays, own in dunet_fair.NETWORKS.values():
        check_keys(
            dunet, config_files(dunet, overlays), {**dunet_fair.KEYS, **own, "split": "slice", "seed": 1}
        )
    for row in li2021_fair.ROWS.values():
        check_keys(gan, config_files(gan, row.overlays), {**li2021_fair.KEYS, **row.keys, "seed": 1})
    keys, heads = li2021_fair.KEYS, sum(li2021_fair.HEADS.training.values())
    steps = keys["max_epochs"] * keys["patches_per_case"] * heads / keys["batch_size"]
    assert li2021_fair.STEPS <= steps < 1.2 * li2021_fair.STEPS
    assert keys["max_epochs"] % keys["val_interval"] == 0
