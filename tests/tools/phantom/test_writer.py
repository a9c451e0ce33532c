"""Synthetic data sets on disk: layouts, resuming, bytes, bad arguments."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tools.core.errors import InputError
from tools.phantom import CLASSES, HeadPhantom, write_phantoms

TINY = {"shape": (48, 48, 12), "spacing": (4.8, 4.8, 13.0)}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Three training cases and a test case."""
    return write_phantoms(tmp_path_factory.mktemp("phantoms"), cases=3, test_cases=1, folds=2, **TINY)


def test_datalist_lists_what_is_there(written):
    dataset = json.loads(written.read_text())
    assert dataset["labels"] == {"0": "background", "1": "hemorrhage"}
    assert [entry["fold"] for entry in dataset["training"]] == [0, 1, 0]
    assert len(dataset["testing"]) == 1
    assert "fold" not in dataset["testing"][0]
    names = set()
    for entry in dataset["training"] + dataset["testing"]:
        names.add(entry["case"])
        assert entry["patient"] == entry["case"]
        for key in ("image", "label", "classes", "brain", "ventricles"):
            image = nib.load(written.parent / entry[key])
            assert image.shape == TINY["shape"]
            assert image.get_data_dtype() == (np.int16 if key == "image" else np.uint8)
            assert image.header.get_xyzt_units()[0] == "mm"
            assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert len(names) == 4


def test_recorded_volumes_equal_counted_voxels(written):
    for entry in json.loads(written.read_text())["training"]:
        classes = voxels(written.parent / entry["classes"])
        truth = json.loads((written.parent / entry["truth"]).read_text())
        ml = np.prod(TINY["spacing"]) / 1000
        for name, value in CLASSES.items():
            assert truth["volume_ml"][name] == pytest.approx((classes == value).sum() * ml)
            assert entry["volume_ml"][name] == truth["volume_ml"][name]
        assert entry["ivh"] == bool((classes == CLASSES["ivh"]).any())
        label = voxels(written.parent / entry["label"])
        assert np.array_equal(label, classes == CLASSES["iph"])  # IVH is background
        assert truth["brain_ml"] == pytest.approx(voxels(written.parent / entry["brain"]).sum() * ml)
        ventricles = voxels(written.parent / entry["ventricles"])
        assert truth["ventricles_ml"] == pytest.approx(ventricles.sum() * ml)


def test_files_hold_the_rendered_case(written):
    case = HeadPhantom(seed=0, index=1, kind="iph_ivh", **TINY).render()
    image = nib.load(written.parent / "images" / "case_001.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), case.image.as_tensor()[0].numpy())
    assert np.allclose(image.affine, np.asarray(case.affine))
    truth = json.loads((written.parent / "truth" / "case_001.json").read_text())
    assert truth["plane"] == case.truth["plane"]
    assert truth["pose"] == case.truth["pose"]


@pytest.mark.parametrize("layout", ["nifti", "ct_ich_v1"])
def test_the_same_seed_gives_the_same_bytes(tmp_path, layout):
    for name in ("a", "b"):
        write_phantoms(tmp_path / name, cases=2, kind="iph", layout=layout, seed=3, **TINY)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    write_phantoms(tmp_path / "c", cases=2, kind="iph", layout=layout, seed=4, **TINY)
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


@pytest.mark.parametrize(
    ("layout", "lost"), [("nifti", "labels/case_001.nii.gz"), ("ct_ich_v1", "Patients_CT/050/bone/3.jpg")]
)
def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, layout, lost):
    def run() -> dict[str, int]:
        write_phantoms(tmp_path, cases=2, layout=layout, **TINY)
        return {
            name: (tmp_path / name).stat().st_ino
            for name in contents(tmp_path)
            if "case" in name or "jpg" in name
        }

    first, before = run(), contents(tmp_path)
    assert run() == first  # nothing was written again
    (tmp_path / lost).unlink()
    (tmp_path / lost).parent.joinpath(".half-written").write_bytes(b"x")
    second = run()
    (tmp_path / lost).parent.joinpath(".half-written").unlink()
    assert contents(tmp_path) == before
    kept = [name for name in first if ("000" in name or "/049/" in name)]
    assert kept
    assert all(second[name] == first[name] for name in kept)


def test_other_arguments_make_the_case_again(tmp_path):
    write_phantoms(tmp_path, cases=1, **TINY)
    old = contents(tmp_path)["images/case_000.nii.gz"]
    write_phantoms(tmp_path, cases=1, **(TINY | {"spacing": (4.7, 4.8, 13.0)}))
    assert contents(tmp_path)["images/case_000.nii.gz"] != old


def test_broken_truth_file_makes_the_case_again(tmp_path):
    write_phantoms(tmp_path, cases=1, **TINY)
    truth = tmp_path / "truth" / "case_000.json"
    good = truth.read_text()
    for bad in ("", "[]", good[:-40]):
        truth.write_text(bad)
        write_phantoms(tmp_path, cases=1, **TINY)
        assert truth.read_text() == good


@pytest.mark.parametrize(("lesion", "values"), [("ivh", [3]), ("iph,ivh", [2, 3]), (["iph"], [2])])
def test_the_label_can_be_chosen(tmp_path, lesion, values):
    write_phantoms(tmp_path, cases=2, kind="iph+ivh", lesion=lesion, **TINY)
    for name in ("case_000", "case_001"):
        classes = voxels(tmp_path / "classes" / f"{name}.nii.gz")
        assert np.array_equal(voxels(tmp_path / "labels" / f"{name}.nii.gz"), np.isin(classes, values))


def test_a_tilted_gantry_shears_the_affine(tmp_path):
    write_phantoms(tmp_path, cases=1, tilt=15, **TINY)
    affine = nib.load(tmp_path / "images/case_000.nii.gz").affine
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    assert np.rad2deg(np.arcsin(axes[:, 1] @ axes[:, 2])) == pytest.approx(15, abs=1e-3)


# --- CT-ICH 1.0.0


@pytest.fixture(scope="module")
def slices(tmp_path_factory) -> Path:
    """Two patients as slices."""
    out = tmp_path_factory.mktemp("ct_ich")
    return write_phantoms(out, cases=2, kind="iph+ivh", seed=2, layout="ct_ich_v1", **TINY)


def test_slices_have_the_original_form(slices):
    assert sorted(p.name for p in (slices / "Patients_CT").iterdir()) == ["049", "050"]
    for window in ("brain", "bone"):
        for number in range(1, 13):
            image = Image.open(slices / f"Patients_CT/049/{window}/{number}.jpg")
            assert image.size == (650, 650)
            assert image.mode == "L"
            assert image.format == "JPEG"
            assert np.asarray(image)[:4].max() <= 2  # black border


def test_masks_and_tables_agree_with_the_volumes(slices):
    raw = (slices / "hemorrhage_diagnosis.csv").read_bytes()
    assert raw.startswith(
        b"\xef\xbb\xbfPatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,"
    )
    assert raw.count(b"\r\n") == 1 + 2 * 12
    rows = list(csv.DictReader(raw.decode("utf-8-sig").splitlines()))
    for index in range(2):
        case = HeadPhantom(seed=2, index=index, kind="iph+ivh", **TINY).render()
        classes = case.classes.as_tensor()[0].numpy()
        mine = [row for row in rows if row["PatientNumber"] == str(49 + index)]
        for number, row in enumerate(mine, 1):
            plane = classes[:, :, number - 1]
            assert row["SliceNumber"] == str(number)
            assert row["Intraventricular"] == str(int((plane == 3).any()))
            assert row["Intraparenchymal"] == str(int((plane == 2).any()))
            assert row["No_Hemorrhage"] == str(int(not plane.any()))
            path = slices / f"Patients_CT/{49 + index:03d}/brain/{number}_HGE_Seg.jpg"
            assert path.exists() == bool(plane.any())
            if plane.any():
                mask = np.asarray(Image.open(path))[5:645, 5:645] > 128
                shown = np.kron(plane.T[::-1, ::-1] > 0, np.ones((14, 14)))[4:-4, 4:-4]  # about 640 / 48 each
                assert mask.mean() == pytest.approx(shown.mean(), rel=0.2)


def test_brain_slices_show_the_brain_window_from_the_feet(slices):
    case = HeadPhantom(seed=2, index=0, kind="iph+ivh", **TINY).render()
    hu = case.image.as_tensor()[0].numpy()[:, :, 6]
    shown = np.asarray(
        Image.open(slices / "Patients_CT/049/brain/7.jpg").crop((5, 5, 645, 645)).resize((48, 48), Image.BOX)
    )
    expected = np.clip((hu + 20) / 120 * 255, 0, 255).T[::-1, ::-1]
    assert np.corrcoef(shown.ravel(), expected.ravel())[0, 1] > 0.97
    mirrored = expected[:, ::-1]
    assert (
        np.corrcoef(shown.ravel(), expected.ravel())[0, 1]
        > np.corrcoef(shown.ravel(), mirrored.ravel())[0, 1]
    )


def test_patients_table_has_the_original_header(slices):
    text = (slices / "patient_demographics.csv").read_text()
    assert text.startswith('"Patient Number","Age\n(years)","Gender","Intraventricular",')
    rows = list(csv.reader(text.splitlines(keepends=True)))
    assert [row[0] for row in rows[1:]] == ["49", "50"]
    assert {len(row) for row in rows} == {11}
    assert all(row[2] in ("Male", "Female") and row[6] == "" for row in rows[1:])


# --- arguments


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"cases": 0}, "cases"),
        ({"cases": 2.5}, "cases"),
        ({"cases": "many"}, "cases"),
        ({"seed": -1}, "seed"),
        ({"folds": 0}, "folds"),
        ({"test_cases": -1}, "test_cases"),
        ({"shape": (64, 64, 2)}, "shape"),
        ({"shape": 64}, "shape"),
        ({"spacing": (0.0, 1.0, 1.0)}, "spacing"),
        ({"spacing": "fine"}, "spacing"),
        ({"kind": "stroke"}, "kind"),
        ({"kind": ("iph", "ivh")}, "kind"),
        ({"lesion": "stroke"}, "lesion"),
        ({"lesion": ""}, "lesion"),
        ({"lesion": 2}, "lesion"),
        ({"layout": "dicom"}, "layout"),
        ({"tilt": 90}, "tilt"),
        ({"device": "abacus"}, "device"),
    ],
)
def test_bad_arguments_are_named(tmp_path, bad, word):
    with pytest.raises(InputError, match=word):
        write_phantoms(tmp_path / "out", **({"cases": 1} | TINY | bad))
    assert not (tmp_path / "out").exists()


def test_a_file_is_not_a_folder(tmp_path):
    path = tmp_path / "taken"
    path.write_text("")
    with pytest.raises(InputError, match="taken"):
        write_phantoms(path, cases=1, **TINY)
