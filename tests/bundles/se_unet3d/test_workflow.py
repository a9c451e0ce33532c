"""Training, evaluation and inference as a user runs them, and the one line that bad data gets."""

from __future__ import annotations

import csv
import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from headct.runs.curves import read_scalars
from tools.phantom import write_phantoms

EVALUATE = ("train.yaml", "evaluate.yaml")


@pytest.fixture(scope="module")
def trained(bundle_run, tiny):
    """Weights after one epoch on the tiny set, which the training makes itself."""
    run = bundle_run("training", "train.yaml", **tiny)
    assert run.returncode == 0, run.stderr[-3000:]
    return tiny


def test_training_leaves_a_plain_state_dict_and_logs(trained):
    weights = torch.load(trained["ckpt_dir"] / "model.pt", weights_only=True)
    assert sum(w.numel() for w in weights.values()) == 2_263_042
    assert list(trained["output_dir"].glob("events.out.tfevents.*"))


def test_evaluation_scores_every_test_case_in_its_own_geometry(bundle_run, trained):
    run = bundle_run("evaluating", *EVALUATE, **trained)
    assert run.returncode == 0, run.stderr[-3000:]
    with (trained["output_dir"] / "metrics" / "per_case.csv").open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    dataset = json.loads((trained["phantom_dir"] / "dataset.json").read_text())
    assert sorted(rows) == sorted(item["case"] for item in dataset["testing"])
    for item in dataset["testing"]:
        truth = nib.load(trained["phantom_dir"] / item["label"])
        pred = nib.load(trained["output_dir"] / "predictions" / f"{item['case']}_seg.nii.gz")
        overlap = 2 * np.sum((truth.get_fdata() > 0) & (pred.get_fdata() > 0))
        total = np.sum(truth.get_fdata() > 0) + np.sum(pred.get_fdata() > 0)
        assert float(rows[item["case"]]["dice"]) == pytest.approx(overlap / total, abs=1e-6)
        volume = np.sum(truth.get_fdata() > 0) * abs(np.linalg.det(truth.affine[:3, :3])) / 1000
        assert float(rows[item["case"]]["volume_ml"]) == pytest.approx(volume, rel=1e-4)
    summary = json.loads((trained["output_dir"] / "metrics" / "summary.json").read_text())
    assert summary
    written = {file.name for file in (trained["output_dir"] / "metrics").iterdir()}
    assert {"summary.md", "precision_recall.png", "slice_detection.csv", "bland_altman.png"} <= written
    mean = np.mean([float(row["dice"]) for row in rows.values()])
    assert read_scalars(trained["output_dir"])["dice"][1][-1] == pytest.approx(mean, abs=1e-6)


def test_inference_keeps_the_geometry_of_the_file(bundle_run, trained, tmp_path):
    """The same head stored in another axis order gets the same mask, in that file's order."""
    scans = tmp_path / "scans"
    scans.mkdir()
    source = next((trained["phantom_dir"] / "images").glob("*.nii.gz"))
    image = nib.load(source)
    nib.save(image, scans / "ras.nii.gz")
    turned = image.as_reoriented(nib.orientations.axcodes2ornt("LPI") * 1)
    nib.save(turned, scans / "turned.nii.gz")
    weights = trained["ckpt_dir"] / "model.pt"
    run = bundle_run(
        "inferring",
        "inference.yaml",
        dataset_dir=scans,
        output_dir=tmp_path / "out",
        ckpt_path=weights,
        roi_size=[16, 16, 8],
    )
    assert run.returncode == 0, run.stderr[-3000:]
    masks = {}
    for name, original in (("ras", image), ("turned", turned)):
        mask = nib.load(tmp_path / "out" / f"{name}_seg.nii.gz")
        assert mask.shape == original.shape
        assert np.allclose(mask.affine, original.affine, atol=1e-5)
        assert mask.get_data_dtype() == np.uint8
        assert set(np.unique(mask.dataobj)) <= {0, 1}
        masks[name] = np.asarray(nib.as_closest_canonical(mask).dataobj)
    assert np.array_equal(masks["ras"], masks["turned"])


def test_inference_without_data_makes_two_heads(bundle_run, trained, tmp_path):
    run = bundle_run(
        "inferring",
        "inference.yaml",
        output_dir=tmp_path / "out",
        ckpt_path=trained["ckpt_dir"] / "model.pt",
        example_dir=tmp_path / "example" / "images",
        roi_size=[16, 16, 8],
        **{"example#shape": [64, 64, 20], "example#spacing": [3.0, 3.0, 8.0]},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz"))
    assert found == ["case_000_seg.nii.gz", "case_001_seg.nii.gz"]


def test_real_dicom_series(bundle_run, trained, real_data, tmp_path):
    """The real scan ends as a mask over the converted volume."""
    weights = shutil.copy(trained["ckpt_dir"] / "model.pt", tmp_path)  # alone: any voxel size will do
    run = bundle_run(
        "inferring",
        "inference.yaml",
        "variants/demo.yaml",
        dataset_dir=real_data / "ge_head_ct_dicom",
        output_dir=tmp_path,
        ckpt_path=weights,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    (path,) = tmp_path.glob("*_seg.nii.gz")
    name = path.name.removesuffix("_seg.nii.gz")
    assert re.fullmatch(r"case_[0-9a-f]{10}", name), "nothing of the folder or the patient is in the name"
    mask, volume = nib.load(path), nib.load(tmp_path / f"{name}.nii.gz")
    assert mask.shape == volume.shape == (512, 611, 37)
    assert np.allclose(mask.affine, volume.affine, atol=1e-4)


def test_other_settings_than_the_trainings_are_refused(bundle_run, trained):
    weights = trained["ckpt_dir"] / "model.pt"
    scans = trained["phantom_dir"] / "images"
    given = {"dataset_dir": scans, "ckpt_path": weights, "input#window": [0, 80]}
    run = bundle_run("inferring", "inference.yaml", **given)
    assert run.returncode != 0
    assert f"error: {weights}: expected window [0, 100]" in run.stderr.strip().splitlines()[-1]


def test_missing_weights(bundle_run, tiny, tmp_path):
    missing = tmp_path / "no" / "model.pt"
    run = bundle_run(
        "inferring", "inference.yaml", dataset_dir=tiny["phantom_dir"] / "images", ckpt_path=missing
    )
    assert run.returncode != 0
    assert run.stderr.strip().splitlines()[-1].startswith(f"error: {missing}: expected trained weights")


def test_bad_data_is_one_line_before_training(bundle_run, tiny, tmp_path):
    """How a user sees one; every way to be wrong is in tests/tools/data/test_datalist.py."""
    root = tmp_path / "data"
    write_phantoms(tiny["phantom_dir"], **tiny["phantom"])
    shutil.copytree(tiny["phantom_dir"], root)
    item = json.loads((root / "dataset.json").read_text())["training"][0]
    label = nib.load(root / item["label"])
    nib.save(nib.Nifti1Image(np.asarray(label.dataobj) * 2, label.affine), root / item["label"])
    overrides = {
        **tiny,
        "dataset_dir": root,
        "ckpt_dir": tmp_path / "models",
        "output_dir": tmp_path / "eval",
    }
    run = bundle_run("training", "train.yaml", **overrides)
    assert run.returncode != 0
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {root / item['label']}: expected label values [0, 1], found [0, 2]")
    assert not (tmp_path / "models").exists()
