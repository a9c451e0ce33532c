"""Training, evaluation and inference as a user runs them, and the one line that bad data gets."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from headct.datasets import prepare
from headct.runs.curves import read_scalars
from tests.bundles.runs import workflow
from tools.core.errors import InputError

SMALL = {"network_def#features": 8, "discriminator_features": 4}


def run(kind: str, *files: str, **overrides: Any) -> None:
    workflow(kind, *files, **overrides).run()


@pytest.fixture(scope="module")
def trained(bundle, tiny_slices) -> dict[str, Any]:
    """Weights after both phases on the tiny set, which the training makes itself: they find some blood."""
    phases = {"pretrain_epochs": 60, "max_epochs": 64, "val_interval": 4, "pretrain_patience": 99}
    overrides = {**tiny_slices, **SMALL, **phases, "learning_rate": 0.01}
    run("train", "train.yaml", **overrides)
    return overrides


def test_training_leaves_the_generator_and_logs(trained):
    from scripts.models import make_network

    weights = torch.load(trained["ckpt_dir"] / "model.pt", weights_only=True)
    make_network("unet6", features=8).load_state_dict(weights)
    settings = json.loads((trained["ckpt_dir"] / "model.json").read_text())
    assert settings["model"] == "unet6"
    curves = read_scalars(trained["output_dir"])
    batches = 64  # two cases of four slices, in batches of eight: one an epoch
    assert len(curves["train_loss"][0]) == batches
    for name in ("dice_loss", "adversarial_loss", "discriminator_loss", "accuracy_real", "accuracy_fake"):
        assert list(curves[name][0]) == [61, 62, 63, 64], name  # iterations of the second phase
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tags = set()
    for file in trained["output_dir"].glob("events.out.tfevents.*"):
        tags |= set(EventAccumulator(str(file)).Reload().Tags()["images"])
    assert {"input_0", "input_1", "output"} <= {tag.split("_HW")[0] for tag in tags}


def test_evaluation_scores_every_slice_in_the_geometry_of_the_file(trained):
    limit = 250.0
    run("infer", "train.yaml", "evaluate.yaml", **trained, small_mm2=limit, threshold=0.3)
    folder = trained["output_dir"] / "slice_metrics"
    with (folder / "per_case.csv").open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    dataset = json.loads((trained["phantom_dir"] / "dataset.json").read_text())
    large, hits, shares = [], [], []
    for item in dataset["testing"]:
        truth = nib.load(trained["phantom_dir"] / item["label"])
        pred = nib.load(trained["output_dir"] / "predictions" / f"{item['case']}_seg.nii.gz")
        assert np.allclose(pred.affine, truth.affine, atol=1e-5)
        pixel = abs(np.linalg.det(truth.affine[:2, :2]))
        truth, pred = (np.asarray(image.dataobj) > 0 for image in (truth, pred))
        for number in range(truth.shape[2]):
            row = rows.pop(f"{item['case']}_{number + 1:03d}")
            t, p = truth[..., number], pred[..., number]
            shares.append(p.mean())
            if t.any():
                both = (t & p).sum()
                assert float(row["dice"]) == pytest.approx(2 * both / (t.sum() + p.sum()), abs=1e-6)
                assert float(row["iou"]) == pytest.approx(both / (t | p).sum(), abs=1e-6)
                assert float(row["area_mm2"]) == pytest.approx(t.sum() * pixel, rel=1e-4)
                large.append(t.sum() * pixel > limit)
                hits.append(both > 0)
    assert rows == {}
    summary = json.loads((folder / "summary.json").read_text())
    assert {True, False} <= set(large)
    assert any(hits)
    assert np.mean(shares) < 0.5
    for group, wanted in (("large", True), ("small", False)):
        found = [hit for hit, size in zip(hits, large, strict=True) if size == wanted]
        assert summary[group]["n"] == len(found)
        assert summary[group]["location"]["accuracy"] == pytest.approx(np.mean(found))
    assert (folder / "precision_recall.png").is_file()


def infer(trained: dict[str, Any], scans: Path, out: Path, **more: Any) -> None:
    weights = trained["ckpt_dir"] / "model.pt"
    run(
        "infer", "inference.yaml", dataset_dir=scans, output_dir=out, ckpt_path=weights,
        **{key: trained[key] for key in ("input#size", "network_def#features")}, **more,
    )  # fmt: skip


def test_volumes_get_masks_in_their_geometry(trained, tmp_path):
    """The same head stored in another axis order gets the same mask, in that file's order."""
    scans = tmp_path / "scans"
    scans.mkdir()
    labels = (trained["phantom_dir"] / "labels").glob("*.nii.gz")
    largest = max(labels, key=lambda path: np.asarray(nib.load(path).dataobj).sum())
    image = nib.load(trained["phantom_dir"] / "images" / largest.name)
    nib.save(image, scans / "ras.nii.gz")
    turned = image.as_reoriented(nib.orientations.axcodes2ornt("LPI"))
    nib.save(turned, scans / "turned.nii.gz")
    infer(trained, scans, tmp_path / "out", threshold=0.1)
    masks = {}
    for name, original in (("ras", image), ("turned", turned)):
        mask = nib.load(tmp_path / "out" / f"{name}_seg.nii.gz")
        assert mask.shape == original.shape
        assert np.allclose(mask.affine, original.affine, atol=1e-5)
        masks[name] = np.asarray(nib.as_closest_canonical(mask).dataobj)
    assert masks["ras"].any()
    assert np.mean(masks["ras"] != masks["turned"]) < 1e-3  # a mirrored grid rounds where it is resized


@pytest.fixture
def pictures(bundle, tmp_path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rows, columns = np.mgrid[:60, :50]
    grey = np.where(np.hypot((rows - 30) / 26, (columns - 25) / 21) < 1, 110, 0).astype(np.uint8)
    Image.fromarray(grey).save(folder / "a.png")
    Image.fromarray(grey).save(folder / "b.jpg")
    return folder


def test_pictures_get_pictures_of_their_size(trained, pictures, tmp_path):
    infer(trained, pictures, tmp_path / "out")
    for name in ("a", "b"):
        mask = np.asarray(Image.open(tmp_path / "out" / f"{name}_seg.png"))
        assert mask.shape == (60, 50)
        assert set(np.unique(mask)) <= {0, 255}


def test_real_slices_train_and_evaluate(bundle, real_data, tmp_path):
    """CT-ICH's pictures as they are published, split by patient."""
    out = tmp_path / "datalist.json"
    prepare("ct_ich_v1", real_data / "ct_ich_v1.0.0_sample", out, folds=2, slices=True, progress=False)
    overrides = {
        "dataset_dir": tmp_path, "datalist_name": out.name, "cache_dir": tmp_path / "cache",
        "ckpt_dir": tmp_path, "output_dir": tmp_path / "eval", "input#size": [64, 64], "batch_size": 4,
        "pretrain_epochs": 1, "max_epochs": 2, **SMALL,
    }  # fmt: skip
    run("train", "train.yaml", **overrides)
    run("infer", "train.yaml", "evaluate.yaml", **overrides)
    with (tmp_path / "eval" / "slice_metrics" / "per_case.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    entries = json.loads(out.read_text())["training"]
    assert sorted(row["case"] for row in rows) == sorted(e["case"] for e in entries if e["fold"] == 0)
    assert {row["patient"] for row in rows} == {str(e["patient"]) for e in entries if e["fold"] == 0}


def test_colour_picture_is_one_line(bundle_run, trained, pictures):
    """How a user sees it; weights of other settings are one line too."""
    colour = np.zeros((40, 40, 3), np.uint8)
    colour[10:30, 10:30, 0] = 200
    Image.fromarray(colour).save(pictures / "c.png")
    weights = {"ckpt_path": trained["ckpt_dir"] / "model.pt", "input#size": trained["input#size"]}
    done = bundle_run("inferring", "inference.yaml", dataset_dir=pictures / "c.png", **weights)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last == f"error: {pictures / 'c.png'}: expected an 8-bit grey picture, found mode RGB"


def test_weights_of_another_network_are_refused(trained, pictures, tmp_path):
    with pytest.raises(RuntimeError) as raised:
        infer({**trained, "network_def#features": 16}, pictures, tmp_path)
    assert isinstance(cause(raised.value), InputError)
    assert "expected features 8, with which these weights were trained, found 16" in str(cause(raised.value))


def cause(error: BaseException) -> BaseException:
    """What MONAI wrapped."""
    while error.__cause__ is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error


def parsed(folder: Path, key: str, entries: list[dict[str, Any]], **overrides: Any) -> Any:
    (folder / "dataset.json").write_text(json.dumps({"training": entries}))
    parser = ConfigParser()
    parser.read_config("configs/train.yaml")
    parser.update({"dataset_dir": str(folder), "cache_dir": str(folder / "cache"), **overrides})
    return parser.get_parsed_content(key)


@pytest.fixture
def entries(pictures) -> list[dict[str, Any]]:
    """Four slices of two patients, each patient in a fold."""
    made = []
    for number in range(4):
        for name in ("image", "label"):
            shutil.copy(pictures / "a.png", pictures / f"{name}{number}.png")
        mask = np.zeros((60, 50), np.uint8)
        mask[20:30, 20:30] = 255
        Image.fromarray(mask).save(pictures / f"label{number}.png")
        made.append({
            "image": f"image{number}.png", "label": f"label{number}.png", "case": f"s{number}",
            "patient": f"p{number // 2}", "slice": number, "fold": number // 2,
        })  # fmt: skip
    return made


def test_mask_of_another_size_is_named(pictures, entries):
    Image.fromarray(np.zeros((50, 60), np.uint8)).save(pictures / "label3.png")
    dataset = parsed(pictures, "train#dataset", entries)
    with pytest.raises((InputError, RuntimeError)) as raised:
        [dataset[n] for n in range(2)]
    text = str(cause(raised.value))
    assert text.startswith(f"{pictures / 'label3.png'}: expected the size")
    assert str(pictures / "image3.png") in text


def test_slice_without_patient_is_named(pictures, entries):
    del entries[1]["patient"]
    with pytest.raises(RuntimeError) as raised:
        parsed(pictures, "train#dataset", entries)
    expected = (
        f"{pictures / 'image1.png'}: expected the key `patient` in the datalist entry of a single slice"
    )
    assert str(cause(raised.value)).startswith(expected)
    assert len(parsed(pictures, "train#dataset", entries, split="slice")) == 2


def test_patient_on_both_sides_is_named(pictures, entries):
    assert len(parsed(pictures, "train#dataset", entries)) == 2
    entries[1]["fold"] = 1
    with pytest.raises(RuntimeError) as raised:
        parsed(pictures, "train#dataset", entries)
    text = str(cause(raised.value))
    assert text.startswith("patient p0: expected all images on one side of the split, found fold 0")
    assert "fold 1" in text
