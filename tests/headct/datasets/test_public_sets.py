"""Sets as their papers describe them: MBH-Seg 2025, Hemorica, HemSeg-200, RSNA 2019, CQ500; tiny trees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headct.datasets import prepare
from tests.headct.datasets.tiny import SHAPE, head, save, voxels, write_series
from tools.core.errors import InputError
from tools.data.datalist import load_datalist


def mask(*columns: int) -> np.ndarray:
    """One value for each of the first columns of slice 2."""
    array = np.zeros(SHAPE, np.uint8)
    array[4 : 4 + len(columns), 5, 2] = columns
    return array


def prepared(dataset: str, root: Path, **arguments: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    out = root.parent / "out" / "d.json"
    report = prepare(dataset, root, out, **{"folds": 0, "progress": False, **arguments})
    return load_datalist(out)["training"], report


# -- MBH-Seg 2025


@pytest.fixture
def raters(tmp_path: Path) -> Path:
    """Three raters of one scan, one of another of the same patient."""
    inner = tmp_path / "set" / "MBH_Train_2025_voxel-label"
    save(inner / "ID_a_ID_1/image.nii.gz", head(1))
    save(inner / "ID_a_ID_1/label_annot_1.nii.gz", mask(2, 2, 4, 2, 0))
    save(inner / "ID_a_ID_1/label_annot_2.nii.gz", mask(2, 3, 5, 0, 0))
    save(inner / "ID_a_ID_1/label_annot_5.nii.gz", mask(2, 3, 0, 0, 5))
    save(inner / "ID_a_ID_2/image.nii.gz", head(2))
    save(inner / "ID_a_ID_2/label_annot_5.nii.gz", mask(1))
    return tmp_path / "set"


def test_consensus_of_raters(raters: Path) -> None:
    """Voxel by voxel: all agree; two of three say IVH; two outline it, of two types; one alone; one alone."""
    entries, report = prepared("mbhseg2025", raters)
    assert [item["patient"] for item in entries] == ["ID_a", "ID_a"]
    np.testing.assert_array_equal(voxels(entries[0]["classes"]), mask(2, 3, 255, 0, 0))
    np.testing.assert_array_equal(voxels(entries[0]["label"]), mask(1, 1, 1, 0, 0))
    np.testing.assert_array_equal(voxels(entries[1]["classes"]), mask(1))
    listed = json.loads((raters.parent / "out" / "d.json").read_text())["training"][0]["raters"]
    assert [name.rsplit("_", 1)[1] for name in listed] == ["1.nii.gz", "2.nii.gz", "5.nii.gz"]
    assert not any(Path(name).is_absolute() for name in listed)
    assert "1 of 2 scans have several raters" in report["findings"]["note"][0]


def test_one_rater(raters: Path) -> None:
    entries, report = prepared("mbhseg2025", raters / "MBH_Train_2025_voxel-label", rater="2")
    assert [item["case"] for item in entries] == ["ID_a_ID_1"]
    np.testing.assert_array_equal(voxels(entries[0]["classes"]), mask(2, 3, 5, 0, 0))
    assert report["findings"]["missing"] == ["rater 2 of ID_a_ID_2"]
    with pytest.raises(InputError, match="expected consensus or one of 1, 2, 5, found '9'"):
        prepared("mbhseg2025", raters, rater="9")
    with pytest.raises(InputError, match="expected CASE/image"):
        prepared("mbhseg2025", raters.parent)
    with pytest.raises(InputError, match="rater: expected it for mbhseg2025 and bids"):
        prepared("folder", raters, rater="2")


# -- Hemorica


def test_hemorica_with_a_mask_of_each_type(tmp_path: Path) -> None:
    for name in ("EPH", "IVH"):
        save(tmp_path / "a" / "p1" / f"{name}.nii.gz", mask(1, int(name == "IVH"), 0))
        save(tmp_path / "b" / "masks" / name / "p1.nii.gz", mask(1, int(name == "IVH"), 0))
    save(tmp_path / "a" / "p1" / "image.nii.gz", head(1))
    (tmp_path / "a" / "p1" / "._image.nii.gz").touch()  # as macOS writes beside each
    save(tmp_path / "b" / "images" / "p1.nii.gz", head(1))
    for root in (tmp_path / "a", tmp_path / "b"):
        entries, report = prepared("hemorica", root)
        np.testing.assert_array_equal(voxels(entries[0]["classes"]), mask(255, 3, 0))  # both claim the first
        np.testing.assert_array_equal(voxels(entries[0]["label"]), mask(1, 1, 0))
        assert report["findings"]["missing"] == ["371 of the 372 scans"]


def test_hemorica_says_what_it_leaves_out(tmp_path: Path) -> None:
    """A case of two scans, of which none is known to be that of the masks, beside one of one."""
    for name in ("p1/image", "p2/image", "p2/thin"):
        save(tmp_path / "set" / f"{name}.nii.gz", head(len(name)))
    for case in ("p1", "p2"):
        save(tmp_path / "set" / case / "IVH.nii.gz", mask(1, 0, 0))
    entries, report = prepared("hemorica", tmp_path / "set")
    assert [item["case"] for item in entries] == ["p1"]
    assert report["findings"]["unexpected"] == ["files elsewhere than the pairs: 3, as p2/IVH.nii.gz"]


def test_hemorica_types_that_nobody_numbers(tmp_path: Path) -> None:
    root = tmp_path / "set"
    save(root / "images/p1.nii.gz", head(1))
    save(root / "masks/p1.nii.gz", mask(1, 2, 3))
    with pytest.raises(InputError, match=r"paper of the set does not number .--labels 1=edh"):
        prepared("hemorica", root)
    entries, _ = prepared("hemorica", root, labels="1=sdh,2=sah,3=ivh")
    np.testing.assert_array_equal(voxels(entries[0]["classes"]), mask(5, 4, 3))
    with pytest.raises(InputError, match="expected the folders images/ and labels/"):
        prepared("hemorica", tmp_path)


# -- DICOM


TYPES = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")


@pytest.fixture
def rsna(tmp_path: Path) -> Path:
    """Two studies of 16 slices, stored in disorder; one with IPH on two slices and IVH on one of them."""
    root = tmp_path / "set"
    names = {f"{study}{k:02d}": (study, k) for study in "ab" for k in range(16)}
    lines = ["ID,Label"]
    for study in "ab":
        files = [f"ID_{name}" for name, (own, _) in names.items() if own == study]
        write_series(
            root / "stage_2_train", files, (5, 6) if study == "b" else (),
            StudyInstanceUID=f"ID_{study}", PatientID=f"ID_p{study}",
        )  # fmt: skip
    for name, (study, k) in names.items():
        seen = {5: {"intraparenchymal", "any"}, 6: {"intraparenchymal", "intraventricular", "any"}}.get(
            k, set()
        )
        for kind in TYPES:
            lines.append(f"ID_{name}_{kind},{int(study == 'b' and kind in seen)}")
    (root / "stage_2_train.csv").write_text("\n".join(lines) + "\n")
    return root


def test_rsna_negatives_and_labels_by_image(rsna: Path) -> None:
    entries, report = prepared("rsna2019", rsna)
    assert [(item["case"], item["patient"], item["hemorrhage"]) for item in entries] == [
        ("ID_a", "ID_pa", False)
    ]
    assert not voxels(entries[0]["label"]).any()
    assert voxels(entries[0]["image"]).shape == (64, 64, 16)
    content = json.loads((rsna.parent / "out" / "d.json").read_text())
    (positive,) = content["by_image"]
    assert (positive["case"], positive["patient"]) == ("ID_b", "ID_pb")
    volume = voxels(rsna.parent / "out" / positive["image"])
    bright = [bool(((volume[..., k] > 60) & (volume[..., k] < 90)).sum() > 30) for k in range(16)]
    assert positive["slice_hemorrhage"] == bright
    assert sorted(kind for kind in positive["slice_types"] if kind) == ["iph", "iph+ivh"]
    assert "1 studies with hemorrhage" in report["findings"]["left out"][0]


def test_rsna_tables_that_lack_rows(rsna: Path) -> None:
    table = rsna / "stage_2_train.csv"
    lines = table.read_text().splitlines()
    for wrong, message in (
        ([*lines, "ID_a01_epidural,2"], "line 194: expected ID_x_TYPE and 0 or 1"),
        (lines[:-1], "expected 6 rows of each image, found fewer of ID_b15"),
        (lines[:1], "found fewer of all"),
    ):
        table.write_text("\n".join(wrong))
        with pytest.raises(InputError, match=message):
            prepared("rsna2019", rsna)
    table.write_text("\n".join(line for line in lines if not line.startswith("ID_b03")))
    _, report = prepared("rsna2019", rsna)
    assert report["findings"]["missing"] == ["labels of 1 images of ID_b, such as ID_b03"]


def test_hemseg200_from_volumes_and_from_slices(tmp_path: Path, rsna: Path) -> None:
    """Masks of two scans: one converted already, one still RSNA's slices."""
    root = rsna
    save(root / "image" / "scan1.nii.gz", head(1))
    save(root / "label" / "scan1.nii.gz", mask(1, 2))
    row = {"patient": "p7", "scan_": "scan2", "slice_list": [f"b{k:02d}" for k in range(16)]}
    (root / "annotion_file_info.jsonl").write_text(json.dumps(row) + "\n")
    affine = np.diag([-3.0, -3.0, 8.0, 1.0])
    affine[:2, 3] = 96.0
    truth = np.zeros((64, 64, 16), np.uint8)
    truth[20:28, 28:36, 5:7] = 1  # as ITK stores it: x to the left, y to the back
    save(root / "label" / "scan2.nii.gz", truth, affine)
    entries, report = prepared("hemseg200", root)
    assert [(item["case"], item["patient"]) for item in entries] == [("scan1", "scan1"), ("scan2", "p7")]
    np.testing.assert_array_equal(voxels(entries[0]["classes"]), mask(2, 3))
    assert entries[1]["types"] == "iph"
    image, label = voxels(entries[1]["image"]), voxels(entries[1]["label"])
    assert label.sum() == truth.sum()
    assert (image[label > 0] == 75).all()
    assert "mask values by name: 1 iph, 2 ivh" in report["findings"]["note"]
    assert report["findings"]["missing"] == ["220 of the 222 scans"]
    (root / "annotion_file_info.jsonl").write_text('{"scan_": "scan2"}\n')
    with pytest.raises(InputError, match=r"jsonl, line 1: expected scan_, patient and slice_list"):
        prepared("hemseg200", root)
    with pytest.raises(InputError, match=r"expected masks as labels/<scan>.nii.gz"):
        prepared("hemseg200", tmp_path)


@pytest.fixture
def cq500(tmp_path: Path) -> Path:
    """Three scans: none of the readers saw hemorrhage, one of them did, none but a fracture."""
    root = tmp_path / "set"
    rows = ["name,Category,R1:ICH,R2:ICH,R3:ICH,R1:Fracture"]
    for number, flags in enumerate(("0,0,0,0", "0,1,0,0", "0,0,0,1")):
        rows.append(f"CQ500-CT-{number},B1,{flags}")
        folder = root / "qct01" / f"CQ500CT{number} CQ500CT{number}" / "Unknown Study" / "CT Plain"
        names = [f"CT{k:06d}" for k in range(16)]
        write_series(folder, names, (number + 3,), SeriesDescription="CT Plain", PatientID=f"CQ500CT{number}")
    rows.append("CQ500-CT-9,B1,0,0,0,0")
    (root / "reads.csv").write_text("\n".join(rows))
    return root


def test_cq500_scans_without_hemorrhage(cq500: Path) -> None:
    entries, report = prepared("cq500", cq500)
    assert [item["case"] for item in entries] == ["CQ500-CT-0", "CQ500-CT-2"]
    for item in entries:
        assert voxels(item["image"]).shape == voxels(item["label"]).shape == (64, 64, 16)
        assert not voxels(item["label"]).any()
    assert report["table"][-1][3:5] == [32, 0]
    assert report["findings"]["left out"] == ["1 scans with hemorrhage, without masks"]
    assert report["findings"]["missing"] == ["scans 9"]
    assert "1 of the 2 scans without hemorrhage show a fracture" in report["findings"]["note"][0]


CQ500 = {
    "no table": (None, "reads.csv: expected the table of reads"),
    "no column": ("name,R1:ICH,R2:ICH\nCQ500-CT-0,0,0\n", "line 2: expected the column R3:ICH"),
    "no number": ("name,R1:ICH,R2:ICH,R3:ICH\nscan,0,0,0\n", "line 2: expected CQ500-CT-n"),
    "no flag": ("name,R1:ICH,R2:ICH,R3:ICH\nCQ500-CT-0,0,0,yes\n", "line 2: expected CQ500-CT-n and flags"),
    "empty flag": ("name,R1:ICH,R2:ICH,R3:ICH\nCQ500-CT-0,0,0,\n", "line 2: expected CQ500-CT-n and flags"),
    "twice": (
        "name,R1:ICH,R2:ICH,R3:ICH\nCQ500-CT-0,0,0,0\nCQ500-CT-0,0,0,1\n",
        "line 3: expected each scan once",
    ),
}


@pytest.mark.parametrize(("text", "message"), CQ500.values(), ids=CQ500)
def test_bad_reads(cq500: Path, text: str | None, message: str) -> None:
    (cq500 / "reads.csv").unlink()
    if text is not None:
        (cq500 / "reads.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        prepared("cq500", cq500)
