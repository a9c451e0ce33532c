"""Scoring of folders: partners, geometry, the rules of each paper."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from ignite.engine import Engine
from monai.transforms import LoadImage
from PIL import Image

from headct.scores.compare import compare_files
from headct.scores.grids import read_label_map
from headct.scores.score import RULES, score
from headct.scores.tables import read_csv
from tools.core.errors import InputError
from tools.report.handler import SegmentationReport

AFFINE = np.diag([-0.5, -0.5, 5.0, 1.0])  # LPS, as most head CT


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array.astype(np.uint8), affine), path)


def box(low: int, high: int, value: int = 1, slices: slice = slice(1, 3)) -> np.ndarray:
    x = np.zeros((16, 12, 6))
    x[low:high, 4:8, slices] = value
    return x


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two cases: "a" half found, "b" without lesion and without prediction."""
    pred, truth = tmp_path / "pred", tmp_path / "truth"
    save(truth / "a.nii.gz", box(4, 8))
    save(truth / "b.nii.gz", box(0, 0))
    save(pred / "a" / "a_seg.nii.gz", box(6, 10))  # as MONAI's SaveImage lays its files
    save(pred / "b" / "b_seg.nii.gz", box(0, 0))
    return pred, truth


def test_scores_and_files(folders: tuple[Path, Path], tmp_path: Path) -> None:
    summary = score(*folders, out=tmp_path / "out", progress=False)
    assert summary["unpaired"] == {"truth": [], "pred": []}
    assert summary["all"]["n"] == 2
    assert summary["all"]["columns"]["dice"]["mean"] == (0.5 + 1) / 2
    assert summary["all"]["pooled"]["dice"] == 0.5
    assert summary["all"]["location"]["accuracy"] == 1
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"per_case.csv", "lesions.csv", "summary.json", "summary.md", "bland_altman.png"}
    a, b = read_csv(tmp_path / "out" / "per_case.csv")
    assert (a["case"], a["volume_ml"]) == ("a", pytest.approx(4 * 4 * 2 * 1.25 / 1000))
    assert (b["case"], b["dice"]) == ("b", 1)


def test_files_that_macos_leaves_are_no_masks(folders: tuple[Path, Path]) -> None:
    pred, truth = folders
    expected = score(pred, truth)
    for folder in folders:
        name = next(folder.rglob("*.nii.gz")).name
        (folder / f"._{name}").write_bytes(b"Mac OS X")
    assert score(pred, truth) == expected


def test_other_orientation_of_the_same_image_is_the_same(folders: tuple[Path, Path]) -> None:
    before = score(*folders, progress=False)
    turned = np.eye(4)
    turned[0, 0], turned[0, 3] = -1, 15
    save(folders[0] / "a" / "a_seg.nii.gz", box(6, 10)[::-1], AFFINE @ turned)
    assert score(*folders, progress=False) == before


def test_slices_as_images(folders: tuple[Path, Path], tmp_path: Path) -> None:
    summary = score(*folders, rules="li2021", out=tmp_path, progress=False)
    assert summary["all"]["n"] == 12
    assert summary["all"]["location"] == {
        "accuracy": 1.0,
        "n_with_lesion": 2,
        "hits": 2,
        "specificity": 1.0,
        "n_without_lesion": 10,
        "false_alarms": 0,
    }
    assert summary["all"]["with_lesion"]["dice"]["mean"] == 0.5
    assert [row["case"] for row in read_csv(tmp_path / "per_case.csv")][:2] == ["a_001", "a_002"]


def test_slices_of_a_score_and_of_an_evaluation_are_compared_one_by_one(folders, tmp_path: Path) -> None:
    """What `score` makes of files and what an evaluation writes for the same masks name slices alike."""
    score(*folders, rules="li2021", out=tmp_path / "score", progress=False)
    report = SegmentationReport(tmp_path / "evaluation", by_slice=True, lesions=False, plots=False)
    load = LoadImage(image_only=True, ensure_channel_first=True)
    files = {name: (folders[0] / name / f"{name}_seg.nii.gz", folders[1] / f"{name}.nii.gz") for name in "ab"}
    items = [
        [{"case": name, "pred": load(pred), "label": load(truth)}] for name, (pred, truth) in files.items()
    ]
    engine = Engine(lambda engine, batch: batch)
    report.attach(engine)
    engine.run(items)
    rows = compare_files(tmp_path / "score" / "per_case.csv", tmp_path / "evaluation" / "per_case.csv")
    assert {row["metric"]: (row["n"], row["p_wilcoxon"]) for row in rows}["dice"] == (12, 1.0)


def test_instance_rules(folders: tuple[Path, Path]) -> None:
    columns = score(*folders, rules="instance2022", progress=False)["all"]["columns"]
    # "a" is moved by 2 voxels of 0.5 mm; "b" is empty on both sides
    assert columns["hd"]["max"] == 1
    assert columns["rvd"]["mean"] == 0
    assert 0 < columns["nsd"]["min"] < columns["nsd"]["max"] == 1
    assert columns["dice_smooth"]["max"] == 1


def test_ivh_from_a_datalist_and_from_a_class(tmp_path: Path) -> None:
    for name, value in (("a", 2), ("b", 3)):
        save(tmp_path / "labels" / f"{name}.nii.gz", box(4, 8, value))
        save(tmp_path / "pred" / f"{name}.nii.gz", box(4, 8, value))
    entries = [{"label": f"labels/{n}.nii.gz", "case": n, "ivh": n == "b"} for n in "ab"]
    (tmp_path / "list.json").write_text(json.dumps({"training": entries[:1], "testing": entries[1:]}))
    listed = score(tmp_path / "pred", tmp_path / "list.json", rules="abramova2021", progress=False)
    names = ["edh", "iph", "ivh"]
    by_class = score(
        tmp_path / "pred", tmp_path / "labels", rules="abramova2021", classes=names, progress=False
    )
    for summary in (listed, by_class):
        assert (summary["ivh"]["n"], summary["no_ivh"]["n"]) == (1, 1)
    assert by_class["all"]["classes"]["iph"]["n_present"] == 1
    assert by_class["all"]["classes"]["edh"]["n_present"] == 0
    with pytest.raises(InputError, match=r"case a: .*IVH flag"):
        score(tmp_path / "pred", tmp_path / "labels", rules="abramova2021", progress=False)


def test_hssayeni_counts_slices(folders: tuple[Path, Path]) -> None:
    save(folders[0] / "b" / "b_seg.nii.gz", box(0, 1, slices=slice(0, 1)))
    slices = score(*folders, rules="hssayeni2020", progress=False)["all"]["slices"]
    assert (slices["tp"], slices["fp"], slices["tn"], slices["fn"]) == (2, 1, 9, 0)
    assert slices["sensitivity"] == 1
    assert slices["specificity"] == 0.9


def test_png_slices(tmp_path: Path) -> None:
    for folder, columns in (("truth", slice(0, 4)), ("pred", slice(2, 6))):
        (tmp_path / folder).mkdir()
        picture = np.zeros((8, 8), dtype=np.uint8)
        picture[:, columns] = 255
        Image.fromarray(picture).save(tmp_path / folder / "007.png")
    summary = score(tmp_path / "pred", tmp_path / "truth", rules="li2021", progress=False)
    assert summary["all"]["columns"]["dice"]["mean"] == 0.5


def test_nrrd_and_mha_on_the_same_grid(folders: tuple[Path, Path]) -> None:
    """The same prediction in ITK's formats, whose world axes are LPS instead of RAS."""
    itk = pytest.importorskip("itk")
    before = score(*folders, progress=False)
    for case, extension in (("a", "nrrd"), ("b", "mha")):
        nifti = folders[0] / case / f"{case}_seg.nii.gz"
        itk.imwrite(itk.imread(str(nifti), itk.UC), str(nifti.with_name(f"{case}.{extension}")))
        nifti.unlink()
    assert score(*folders, progress=False) == before


def test_missing_partner_is_an_error_unless_allowed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    save(folders[0] / "c.nii.gz", box(0, 1))
    save(folders[1] / "d.nii.gz", box(0, 1))
    with pytest.raises(InputError, match=r"1 truths without prediction \['d'\] and 1 .*\['c'\]"):
        score(*folders, progress=False)
    summary = score(*folders, allow_missing=True, out=tmp_path / "out", progress=False)
    assert summary["unpaired"] == {"truth": ["d"], "pred": ["c"]}
    assert summary["all"]["n"] == 2
    page = (tmp_path / "out" / "summary.md").read_text()
    assert page == str(summary)
    assert "truth without partner: d" in page
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary


@pytest.mark.parametrize("rules", RULES)
def test_other_grid_is_named(folders: tuple[Path, Path], rules: str) -> None:
    moved = AFFINE.copy()
    moved[0, 3] = 3
    save(folders[0] / "a" / "a_seg.nii.gz", box(4, 8), moved)
    with pytest.raises(InputError, match=r"a_seg\.nii\.gz: expected the affine of .*voxels by up to 3 mm"):
        score(*folders, rules=rules, progress=False)


def test_another_grid_is_moved_or_taken_as_it_is_if_asked(folders: tuple[Path, Path]) -> None:
    """One voxel along x: as it is, the prediction overlaps by 2 of 4 voxels; moved, by 1."""
    expected = score(*folders, progress=False)["all"]["columns"]["dice"]["max"], 0.5
    moved = AFFINE.copy()
    moved[0, 3] = -0.5  # one voxel to the left: where index 6 was, 7 is now
    save(folders[0] / "a" / "a_seg.nii.gz", box(6, 10), moved)
    dice = {
        way: score(*folders, on_mismatch=way, progress=False)["all"]["columns"]["dice"]["min"]
        for way in ("warn", "resample")
    }
    assert dice == {"warn": 0.5, "resample": 0.25}
    assert expected == (1, 0.5)
    save(folders[0] / "a" / "a_seg.nii.gz", box(6, 10)[:-1], AFFINE)
    with pytest.raises(InputError, match=r"expected the shape \(16, 12, 6\)"):
        score(*folders, on_mismatch="warn", progress=False)


def test_values_near_whole_numbers_and_255_are_masks(folders: tuple[Path, Path]) -> None:
    before = score(*folders, progress=False)
    path = folders[0] / "a" / "a_seg.nii.gz"
    for factor in (255, 0.9999, 254.97):
        nib.save(nib.Nifti1Image((box(6, 10) * factor).astype(np.float32), AFFINE), path)
        assert score(*folders, progress=False) == before
    nib.save(nib.Nifti1Image((box(6, 10) * 0.6).astype(np.float32), AFFINE), path)
    with pytest.raises(InputError, match=r"a_seg\.nii\.gz: expected whole class values .* such as 0\.6"):
        score(*folders, progress=False)


def test_edema_of_a_datalist_is_no_hemorrhage(tmp_path: Path) -> None:
    """nnU-Net's names by value; edema right of the hemorrhage in both, where prediction and truth differ."""
    both, half = box(4, 8) + box(8, 12, 2), box(4, 8) + box(8, 9, 2)
    save(tmp_path / "labels" / "a.nii.gz", both)
    save(tmp_path / "pred" / "a.nii.gz", half)
    content = {"labels": {"background": 0, "ICH": 1, "PHE": 2}, "training": [{"label": "labels/a.nii.gz"}]}
    (tmp_path / "list.json").write_text(json.dumps(content))
    summary = score(tmp_path / "pred", tmp_path / "list.json", plots=False, progress=False)
    assert summary["all"]["pooled"]["dice"] == 1
    content["labels"] = {"background": 0, "ICH": 1, "tumor": 2}
    (tmp_path / "list.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="found 'tumor' for 2"):
        score(tmp_path / "pred", tmp_path / "list.json", plots=False, progress=False)
    named = score(tmp_path / "pred", tmp_path / "list.json", classes={1: "ich", 2: "tumor"}, progress=False)
    assert named["all"]["pooled"]["dice"] < 1


def test_a_value_of_no_class_is_named(tmp_path: Path) -> None:
    """Of several classes: of one class any value counts."""
    pred, truth = tmp_path / "pred", tmp_path / "truth"
    save(truth / "a.nii.gz", box(4, 8, 2))
    save(pred / "a.nii.gz", box(4, 8, 7))
    assert score(pred, truth, progress=False)["all"]["n"] == 1
    with pytest.raises(InputError, match=r"pred/a\.nii\.gz: .* classes 1 \(edh\), 2 \(iph\), found 7"):
        score(pred, truth, classes=["edh", "iph"], out=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_bad_input_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    pred, truth = folders
    with pytest.raises(InputError, match="found 'brats'"):
        score(pred, truth, rules="brats")
    with pytest.raises(InputError, match="nowhere"):
        score(tmp_path / "nowhere", truth)
    (tmp_path / "void").mkdir()
    with pytest.raises(InputError, match=r"void: .*found none"):
        score(tmp_path / "void", truth)
    save(pred / "a_pred.nii.gz", box(4, 8))
    with pytest.raises(InputError, match="case a: expected one prediction"):
        score(pred, truth)
    (pred / "a_pred.nii.gz").unlink()
    (pred / "c.nii").symlink_to("gone")
    with pytest.raises(InputError, match=r"c\.nii: expected a file, found a link to nothing"):
        score(pred, truth, allow_missing=True)
    (pred / "c.nii").unlink()
    (pred / "a" / "a_seg.nii.gz").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a_seg\.nii\.gz: expected a complete NIfTI file"):
        score(pred, truth, progress=False)


def _metres(path: Path) -> None:
    save(path, box(4, 8), np.diag([-0.0005, -0.0005, 0.005, 1]))


def _complex(path: Path) -> None:
    nib.save(nib.Nifti1Image(box(4, 8).astype(np.complex64), AFFINE), path)


def _wrong_checksum(path: Path) -> None:
    save(path, box(4, 8))
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (_metres, r"0\.0005 x 0\.0005 x 0\.005 mm: .* \(it looks like metres\)"),
        (_complex, "complex"),
        (_wrong_checksum, "CRC"),
    ],
)
def test_label_maps_are_read_as_scans_are(spoil, found, folders: tuple[Path, Path]) -> None:
    spoil(folders[0] / "a" / "a_seg.nii.gz")
    with pytest.raises(InputError, match=rf"a_seg\.nii\.gz: expected .*{found}"):
        score(*folders, progress=False)


def test_a_mask_is_what_viewers_show_of_it(tmp_path: Path) -> None:
    """A palette that shows 0 as white; and one slice as a volume."""
    mask = np.zeros((6, 8), np.uint8)
    mask[1:3, 2:7] = 1
    picture = Image.fromarray(1 - mask, "P")
    picture.putpalette([255] * 3 + [0] * 3)
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png")[0].numpy(), mask.T)
    save(tmp_path / "a.nii.gz", mask[..., None], np.diag([0.5, 0.5, 5, 1]))
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.nii.gz")[0, ..., 0].numpy(), mask)
