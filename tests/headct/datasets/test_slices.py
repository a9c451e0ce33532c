"""8-bit slices: back to HU, the right way round; CT-ICH 1.0.0, real and synthetic; folders of pictures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, load_decathlon_datalist
from PIL import Image

from headct.cli.main import main
from headct.datasets import prepare
from tools.core.errors import InputError
from tools.data.datalist import load_datalist
from tools.phantom import write_phantoms
from tools.slices.read import read_slice, read_slice_mask, window_to_hu


def save(path: Path, grey: np.ndarray, mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey).convert(mode).save(path)
    return path


# -- window and slices


def test_window_to_hu() -> None:
    """By hand: level 40, width 120 is -20..100 HU."""
    grey = torch.tensor([0, 51, 255], dtype=torch.uint8)
    expected = torch.tensor([-20.0, 4.0, 100.0])
    torch.testing.assert_close(window_to_hu(grey), expected)
    np.testing.assert_allclose(window_to_hu(grey.numpy(), (40, 120)), expected.numpy(), rtol=1e-6)
    torch.testing.assert_close(window_to_hu(grey, (700, 3200)), torch.tensor([-900.0, -260.0, 2300.0]))
    kept = MetaTensor(grey.double(), affine=torch.eye(4) * 2)
    assert window_to_hu(kept).dtype == torch.float64
    torch.testing.assert_close(window_to_hu(kept).affine, kept.affine)


def test_read_slice_is_ras(tmp_path: Path) -> None:
    """A picture shows the front on top and the right at the left: X to the right, Y to the front."""
    grey = np.zeros((650, 650), np.uint8)
    grey[5, 5] = 255  # front right, just inside of the border
    grey[5, 6] = 51
    image = read_slice(save(tmp_path / "a.png", grey))
    assert image.shape == (1, 640, 640)
    assert image.dtype == torch.float32
    assert image[0, 639, 639] == 100
    assert image[0, 638, 639] == pytest.approx(4)
    assert (image == -20).sum() == 640 * 640 - 2
    assert image.meta["windowed"] == [40, 120]
    torch.testing.assert_close(
        image.affine.diagonal(), torch.tensor([0.33, 0.33, 5.0, 1.0], dtype=torch.float64)
    )
    whole = read_slice(tmp_path / "a.png", border=0, window=(0, 255), pixel_mm=0.5)
    assert whole.shape == (1, 650, 650)
    assert whole[0, 644, 644] == 127.5
    assert whole.affine[0, 0] == 0.5


def test_read_slice_mask_has_the_threshold_of_noisy_jpeg(tmp_path: Path) -> None:
    grey = np.zeros((8, 10), np.uint8)
    grey[0, :3] = 127, 128, 255
    mask = read_slice_mask(save(tmp_path / "m.png", grey))
    assert mask.shape == (1, 10, 8)
    assert mask[0, :, 7].tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1, 0]
    assert mask.sum() == 2


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAL", "PIR"])
def test_slice_of_a_volume_in_any_orientation(tmp_path: Path, axes: str) -> None:
    """Slice k of the file is slice k of its axis from feet to head, turned like the RAS volume."""
    ras = nib.Nifti1Image(np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5), np.diag([2.0, 3, 4, 1]))
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(axes))
    )
    path = tmp_path / "v.nii.gz"
    nib.save(ras.as_reoriented(turn), path)
    flipped = "I" in axes
    for number in range(1, 6):
        image = read_slice(path, number)
        k = 5 - number if flipped else number - 1
        assert image.shape == (1, 3, 4)
        np.testing.assert_array_equal(image[0].numpy(), ras.get_fdata()[:, :, k])
        np.testing.assert_allclose(image.affine.numpy() @ [1, 2, 0, 1], ras.affine @ [1, 2, k, 1])
        assert (read_slice_mask(path, number) == image).all()
    for number in (None, 0, 6):
        with pytest.raises(InputError, match="expected a slice number from 1 to 5"):
            read_slice(path, number)


def bad_pictures(folder: Path) -> dict[str, tuple[Path, str]]:
    noise = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    whole = save(folder / "whole.jpg", noise[..., 0])
    (folder / "cut.jpg").write_bytes(whole.read_bytes()[:200])
    (folder / "text.png").write_text("no picture")
    Image.fromarray(np.full((20, 20), 1000, np.uint16)).save(folder / "deep.png")
    return {
        "none": (folder / "none.jpg", "found no such file"),
        "cut": (folder / "cut.jpg", "expected a complete picture"),
        "text": (folder / "text.png", "expected a complete picture"),
        "deep": (folder / "deep.png", "expected an 8-bit grey picture, found mode I;16"),
        "colour": (
            save(folder / "colour.png", noise, "RGB"),
            "expected an 8-bit grey picture, found mode RGB",
        ),
    }


@pytest.mark.parametrize("name", ["none", "cut", "text", "deep", "colour"])
def test_bad_picture(tmp_path: Path, name: str) -> None:
    path, message = bad_pictures(tmp_path)[name]
    with pytest.raises(InputError) as error:
        read_slice(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_picture_smaller_than_its_border(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected more than 10 pixels a side"):
        read_slice(save(tmp_path / "a.png", np.zeros((10, 20), np.uint8)), border=5)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1"])
def test_grey_stored_otherwise(tmp_path: Path, mode: str) -> None:
    grey = np.zeros((6, 6), np.uint8)
    grey[:3] = 255
    assert torch.equal(
        read_slice_mask(save(tmp_path / "a.png", grey, mode)), read_slice_mask(save(tmp_path / "b.png", grey))
    )


# -- the real sample


def test_real_slices(real_data: Path) -> None:
    """Against Pillow and numpy alone."""
    folder = real_data / "ct_ich_v1.0.0_sample" / "Patients_CT" / "077" / "brain"
    image, mask = read_slice(folder / "20.jpg"), read_slice_mask(folder / "20_HGE_Seg.jpg")
    grey = np.asarray(Image.open(folder / "20.jpg"))[5:-5, 5:-5].astype(float)
    np.testing.assert_allclose(image[0].numpy()[::-1, ::-1].T, grey / 255 * 120 - 20, atol=1e-4)
    white = np.asarray(Image.open(folder / "20_HGE_Seg.jpg"))[5:-5, 5:-5] >= 128
    np.testing.assert_array_equal(mask[0].numpy()[::-1, ::-1].T > 0, white)
    # HU of fresh blood, and of the brain: the stated window is the true one.
    assert 50 < image[mask > 0].median() < 70
    assert 28 < image[0, 260:380, 200:440].median() < 40


def test_prepare_the_real_sample(real_data: Path, tmp_path: Path) -> None:
    """21 slices of 4 patients; all else that the tables list is named as missing."""
    root = real_data / "ct_ich_v1.0.0_sample"
    report = prepare("ct_ich_v1", root, tmp_path / "list.json", folds=4, progress=False)
    content = json.loads((tmp_path / "list.json").read_text())
    assert content["testing"] == []
    assert len(content["training"]) == 21
    assert {item["patient"]: item["fold"] for item in content["training"]}.keys() == {
        "077",
        "078",
        "079",
        "080",
    }
    assert len({(item["patient"], item["fold"]) for item in content["training"]}) == 4
    item = next(item for item in content["training"] if item["case"] == "080_009")
    assert item["types"] == "iph+ivh"
    assert (tmp_path / item["image"]).resolve() == (root / "Patients_CT/080/brain/9.jpg").resolve()
    assert item["windowed"] == [40, 120]
    assert item["border"] == 5
    assert item["lesion_px"] == read_slice_mask(tmp_path / item["label"]).sum()
    assert content["patients"]["080"] == {"age": 60.0, "sex": "male", "fracture": False}
    assert not any(key.startswith(("image_", "label_")) for item in content["training"] for key in item)
    missing = report["findings"]["missing"]
    assert missing[0] == "slices of patients 049-076, 081-130 in Patients_CT"
    assert "patient 077: brain window of slices 1-19, 22-31" in missing
    assert report["table"][-1][:10] == ["all", 4, 21, 21, 21, 12, 4, 8, 2, 0]
    assert "slices of patients 049-076" in str(report)
    assert report["table"][-1][-1] == pytest.approx(
        sum(i["lesion_px"] for i in content["training"]) * 0.33**2 * 5 / 1000, abs=0.05
    )
    with pytest.raises(InputError, match="expected nothing missing or contradictory"):
        prepare("ct_ich_v1", root, tmp_path / "strict.json", folds=0, strict=True, progress=False)
    assert not (tmp_path / "strict.json").exists()


# -- synthetic trees


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five synthetic patients in CT-ICH's layout, and the first two as NIfTI."""
    folder = tmp_path_factory.mktemp("ct_ich")
    arguments = {"cases": 5, "shape": (64, 64, 8), "spacing": (3.6, 3.6, 20.0), "kind": "any", "seed": 1}
    write_phantoms(folder / "jpeg", layout="ct_ich_v1", **arguments)
    write_phantoms(folder / "nifti", **arguments | {"cases": 2})
    return folder


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    """A copy of the tree to damage."""
    return Path(shutil.copytree(tree / "jpeg", tmp_path / "jpeg"))


def test_synthetic_tree_is_complete_and_the_same_head(tree: Path, tmp_path: Path) -> None:
    report = prepare("ct_ich_v1", tree / "jpeg", tmp_path / "list.json", folds=5, progress=False)
    notes = report["findings"].pop("note", [])
    assert report["findings"] == {}
    assert all(note.endswith("the picture is black") for note in notes)  # a slice above the head
    assert "complete: nothing missing, nothing left out" in str(report)
    content = json.loads((tmp_path / "list.json").read_text())
    assert len(content["training"]) == 40
    for item in content["training"]:
        case, k = f"case_{int(item['patient']) - 49:03d}", item["slice"]
        truth = json.loads((tree / "jpeg" / "truth" / f"{case}.json").read_text())
        assert set(filter(None, item["types"].split("+"))) == set(truth["slices"][k - 1])
        mask = read_slice_mask(tmp_path / item["label"])
        assert mask.any() == item["hemorrhage"] == bool(truth["slices"][k - 1])
        assert (tmp_path / item["bone"]).is_file()
        if case not in ("case_000", "case_001"):
            continue
        image = read_slice(tmp_path / item["image"])
        volume = read_slice(tree / "nifti" / "images" / f"{case}.nii.gz", k)[0].numpy().clip(-20, 100)
        small = torch.nn.functional.interpolate(image.as_tensor()[None], size=(64, 64), mode="area")[0, 0]
        if volume.std() > 5:
            assert np.corrcoef(volume.ravel(), small.numpy().ravel())[0, 1] > 0.95, item["case"]
        if item["hemorrhage"]:
            classes = read_slice_mask(tree / "nifti" / "classes" / f"{case}.nii.gz", k)[0].numpy() > 0
            blurred = torch.nn.functional.interpolate(mask.as_tensor()[None], size=(64, 64), mode="area")[
                0, 0
            ]
            assert ((blurred.numpy() > 0.5) == classes).mean() > 0.99, item["case"]


def test_lists_are_read_by_ours_and_by_monai(tree: Path, tmp_path: Path) -> None:
    prepare("ct_ich_v1", tree / "jpeg", tmp_path / "sub" / "list.json", folds=2, test=0.2, progress=False)
    lists = load_datalist(tmp_path / "sub" / "list.json", label_values=None)
    assert all(Path(item["image"]).is_file() for part in lists.values() for item in part)
    patients = [{item["patient"] for item in lists[part]} for part in ("training", "testing")]
    assert len(patients[0]) == 4
    assert len(patients[1]) == 1
    assert patients[0] & patients[1] == set()
    items = load_decathlon_datalist(str(tmp_path / "sub" / "list.json"), True, "training")
    assert [Path(item["image"]).resolve() for item in items] == [
        Path(item["image"]) for item in lists["training"]
    ]


def test_split_by_slice_says_that_it_leaks(tree: Path, tmp_path: Path) -> None:
    report = prepare("ct_ich_v1", tree / "jpeg", tmp_path / "l.json", folds=4, by="slice", progress=False)
    content = json.loads((tmp_path / "l.json").read_text())
    assert content["split"]["by"] == "slice"
    assert len(content["split"]["leaking_patients"]) == 5
    assert "Split by slice: neighbouring slices of one patient" in str(report)
    by_patient = prepare("ct_ich_v1", tree / "jpeg", tmp_path / "p.json", folds=5, progress=False)
    assert by_patient["warning"] == ""
    assert json.loads((tmp_path / "p.json").read_text())["split"]["leaking_patients"] == []


def test_balance(tmp_path: Path) -> None:
    """As many slices without as with hemorrhage (318 + 318 of CT-ICH, as in the D-Unet paper)."""
    root = write_phantoms(
        tmp_path / "j", 2, shape=(32, 32, 14), spacing=(7.0, 7.0, 11.0), kind="edh", layout="ct_ich_v1"
    )
    whole = prepare("ct_ich_v1", root, tmp_path / "a.json", folds=0, progress=False)["table"][-1]
    half = prepare("ct_ich_v1", root, tmp_path / "b.json", folds=0, balance=True, progress=False)
    slices, bleeding = whole[3:5]
    assert 0 < 2 * bleeding < slices
    assert half["table"][-1][3:5] == [2 * bleeding, bleeding]
    dropped = f"{slices - 2 * bleeding} slices without hemorrhage, to balance"
    assert half["findings"]["left out"] == [dropped]


def first_mask(root: Path) -> Path:
    return sorted(root.glob("Patients_CT/*/brain/*_HGE_Seg.jpg"))[0]


def test_gaps_and_contradictions_are_named(copy: Path, tmp_path: Path) -> None:
    """A lost mask, a lost image, a stray file, a patient without rows: nothing goes unsaid."""
    lost = first_mask(copy)
    number, patient = int(lost.name.split("_")[0]), lost.parts[-3]
    lost.unlink()
    (copy / "Patients_CT" / "053" / "brain" / "3.jpg").unlink()
    (copy / "Patients_CT" / "053" / "bone" / "4.jpg").unlink()
    (copy / "Patients_CT" / "053" / "brain" / "notes.txt").write_text("x")
    table = copy / "hemorrhage_diagnosis.csv"
    lines = table.read_bytes().decode("utf-8-sig").splitlines()
    table.write_text("\n".join(line for line in lines if not line.startswith("52,")))
    report = prepare("ct_ich_v1", copy, tmp_path / "l.json", folds=0, progress=False)
    findings = report["findings"]
    said = f"hemorrhage in the table, but no mask: patient {patient} slice {number} is left out"
    assert said in findings["contradiction"]
    assert "patient 053: brain window of slices 3" in findings["missing"]
    assert "rows of patients 052 in the table of slices" in findings["missing"]
    assert any(text.startswith("patient 052: table rows of slices 1-8") for text in findings["missing"])
    assert any("bone window" in text for text in findings["missing"])
    assert findings["unexpected"] == ["Patients_CT/053/brain/notes.txt"]
    content = json.loads((tmp_path / "l.json").read_text())
    cases = {item["case"] for item in content["training"]}
    assert patient == "049"
    assert len(cases) == 40 - 8 - 1 - 1
    assert f"{patient}_{number:03d}" not in cases
    assert "053_003" not in cases
    assert not any("bone" in item for item in content["training"])


def test_skip(copy: Path, tmp_path: Path) -> None:
    report = prepare("ct_ich_v1", copy, tmp_path / "l.json", folds=0, skip="49,050_003", progress=False)
    content = json.loads((tmp_path / "l.json").read_text())
    cases = {item["case"] for item in content["training"]}
    assert not any(case.startswith("049") for case in cases)
    assert "050_003" not in cases
    assert len(cases) == 40 - 9
    assert len(report["findings"]["left out"]) == 9
    with pytest.raises(InputError, match=r"skip: expected names of cases or patients .*found 48"):
        prepare("ct_ich_v1", copy, tmp_path / "l.json", folds=0, skip=48, progress=False)


def damage_size(root: Path) -> str:
    Image.new("L", (640, 640)).save(root / "Patients_CT/050/brain/2.jpg")
    return "2.jpg: expected 650 x 650 pixels, found (640, 640)"


def damage_mask(root: Path) -> str:
    path = first_mask(root)
    Image.new("L", (650, 650), 100).save(path)
    return f"{path.name}: expected a hemorrhage in white, found no pixel from 128"


def damage_file(root: Path) -> str:
    path = root / "Patients_CT/050/brain/2.jpg"
    path.write_bytes(path.read_bytes()[:3000])
    return "2.jpg: expected a complete picture"


def damage_twin(root: Path) -> str:
    shutil.copy(root / "Patients_CT/050/brain/4.jpg", root / "Patients_CT/051/brain/4.jpg")
    return "051/brain/4.jpg: expected a picture of its own, found that of patient 050 slice 4 again"


def damage_name(root: Path) -> str:
    shutil.copy(root / "Patients_CT/050/brain/4.jpg", root / "Patients_CT/050/brain/04.jpg")
    return "expected one brain file of patient 050 slice 4"


def damage_table(root: Path) -> str:
    (root / "patient_demographics.csv").unlink()
    return "patient_demographics.csv: expected a table (CSV), found no such file"


def damage_tree(root: Path) -> str:
    shutil.rmtree(root / "Patients_CT")
    return "Patients_CT: expected a folder of patients' slices (CT-ICH 1.0.0), found no such folder"


DAMAGES = [damage_size, damage_mask, damage_file, damage_twin, damage_name, damage_table, damage_tree]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_tree(copy: Path, tmp_path: Path, damage: Callable[[Path], str]) -> None:
    message = damage(copy)
    with pytest.raises(InputError) as error:
        prepare("ct_ich_v1", copy, tmp_path / "l.json", progress=False)
    assert message in str(error.value)
    assert not (tmp_path / "l.json").exists()


def test_all_damages_are_named_at_once(copy: Path, tmp_path: Path) -> None:
    messages = [damage(copy) for damage in (damage_size, damage_mask, damage_twin)]
    with pytest.raises(InputError, match="found 3 unusable") as error:
        prepare("ct_ich_v1", copy, tmp_path / "l.json", progress=False)
    assert all(message in str(error.value) for message in messages)


# -- folders of pictures, and the command line


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    root = tmp_path / "set"
    for patient in "abc":
        for number in range(4):
            mask = np.zeros((16, 16), np.uint8)
            mask[4:9, 4:9] = 255 * (number % 2)
            save(root / "images" / f"{patient}_{number}.png", rng.integers(0, 255, (16, 16), np.uint8))
            save(root / "masks" / f"{patient}_{number}_mask.png", mask)
    return root


def test_folder_of_pictures(pictures: Path, tmp_path: Path) -> None:
    arguments = {"folds": 3, "window": "40,120", "progress": False}
    prepare("folder", pictures, tmp_path / "l.json", patient_from=r"^([a-z])_", **arguments)
    content = json.loads((tmp_path / "l.json").read_text())
    assert len(content["training"]) == 12
    assert len({(item["patient"], item["fold"]) for item in content["training"]}) == 3
    assert [item["hemorrhage"] for item in content["training"]] == [False, True] * 6
    assert [item["lesion_px"] for item in content["training"]] == [0, 25] * 6
    # Without patients, only the split that leaks can be made, and only by name.
    with pytest.raises(InputError, match="expected the patient of each picture"):
        prepare("folder", pictures, tmp_path / "m.json", **arguments)
    report = prepare("folder", pictures, tmp_path / "m.json", by="slice", **arguments)
    assert "scores are optimistic" in report["warning"]


PICTURE_ERRORS = {
    "window": ({"window": None}, "expected the display window of the pictures"),
    "words": ({"window": "wide"}, "window: expected LEVEL,WIDTH in HU with a positive width, found 'wide'"),
    "pattern": ({"patient_from": "("}, "patient_from: expected a regular expression"),
    "group": ({"patient_from": "^[a-z]"}, "expected a name whose patient the first group"),
    "types": ({"types": "edh"}, "types: expected a data set whose masks tell types, found pictures"),
    "kind": ({"types": "blood"}, "types: expected some of edh, iph, ivh, sah, sdh, found 'blood'"),
    "out": ({"out": "list.txt"}, "expected a file name that ends in .json"),
}


@pytest.mark.parametrize(("changed", "message"), PICTURE_ERRORS.values(), ids=PICTURE_ERRORS)
def test_bad_arguments_for_pictures(pictures: Path, tmp_path: Path, changed: dict, message: str) -> None:
    arguments = {"out": tmp_path / "l.json", "window": (40, 120), "patient_from": "^(.)", "progress": False}
    with pytest.raises(InputError) as error:
        prepare("folder", pictures, folds=3, **arguments | changed)
    assert message in str(error.value)


def test_pictures_whose_pairs_do_not_fit(pictures: Path, tmp_path: Path) -> None:
    arguments = {"window": (40, 120), "patient_from": "^(.)", "folds": 0, "progress": False}
    (pictures / "masks" / "a_0_mask.png").unlink()
    report = prepare("folder", pictures, tmp_path / "l.json", **arguments)
    assert report["findings"]["missing"] == ["partners of 1 images: a_0"]
    save(pictures / "masks" / "a_1_mask.png", np.zeros((8, 8), np.uint8))
    save(pictures / "masks" / "a_2_mask.png", np.full((16, 16), 7, np.uint8))
    with pytest.raises(InputError, match="found 2 unusable") as error:
        prepare("folder", pictures, tmp_path / "l.json", **arguments)
    assert "a_1_mask.png: expected the size (16, 16) of a_1.png, found (8, 8)" in str(error.value)
    assert "a_2_mask.png: expected a mask in white (255) on black, found values up to 7" in str(error.value)


def test_command_line(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "l.json")
    words = [
        "datasets",
        "prepare",
        "folder",
        "--root",
        str(pictures),
        "--out",
        out,
        "--folds",
        "3",
        "--by",
        "patient",
    ]
    assert main([*words, "--window", "40", "120", "--patient-from", "^(.)", "--skip", "c"]) == 2
    assert "error: folds: expected enough patients for 3 folds" in capsys.readouterr().err
    assert main([*words, "--window", "40", "120", "--patient-from", "^(.)"]) == 0
    printed = capsys.readouterr().out
    assert "fold 2" in printed
    assert "complete" in printed
    assert len(json.loads(Path(out).read_text())["training"]) == 12
    assert main(["datasets", "list"]) == 0
    printed = capsys.readouterr().out
    for name in ("ct_ich_v1", "ct_ich_v131", "instance2022", "bhsd", "folder", "decathlon"):
        assert f"headct datasets prepare {name} --root" in printed
    assert main(["datasets", "prepare", "rsna", "--root", "."]) == 2
    assert "DATASET: expected one of ct_ich_v1" in capsys.readouterr().err
    assert main(["datasets", "prepare", "bhsd", "--root", str(tmp_path / "none")]) == 2
    assert "expected the folder of BHSD, found nothing there" in capsys.readouterr().err
