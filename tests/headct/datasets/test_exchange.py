"""Trees of other tools: nnU-Net v2 read and written, BIDS derivatives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headct.datasets import prepare
from headct.datasets.export import export_nnunet
from tests.headct.datasets.tiny import blob, head, save, voxels
from tools.core.errors import InputError
from tools.data.datalist import load_datalist


def prepared(dataset: str, root: Path, **arguments: Any) -> tuple[dict[str, list], dict[str, Any]]:
    out = root.parent / "out" / "d.json"
    report = prepare(dataset, root, out, progress=False, **arguments)
    return load_datalist(out), report


# -- nnU-Net v2


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Four scans of which ICH is 1 and perihematomal edema 2, two folds, one scan for testing."""
    root = tmp_path / "Dataset007_ICH"
    for number in range(4):
        save(root / f"imagesTr/h_{number}_0000.nii.gz", head(number))
        save(root / f"labelsTr/h_{number}.nii.gz", blob({1: 1, 2: 2}))
    save(root / "imagesTs/t_9_0000.nii.gz", head(9))
    save(root / "labelsTs/t_9.nii.gz", blob({1: 1}))
    save(root / "imagesTs/t_8_0000.nii.gz", head(8))
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "ICH": 1, "PHE": 2},
        "numTraining": 4,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(content))
    splits = [
        {"train": ["h_0", "h_1"], "val": ["h_2", "h_3"]},
        {"train": ["h_2", "h_3"], "val": ["h_0", "h_1"]},
    ]
    (root / "splits_final.json").write_text(json.dumps(splits))
    return root


def test_nnunet_by_names_and_folds(raw: Path) -> None:
    for file in list(raw.rglob("*.nii.gz")):
        file.with_name(f"._{file.name}").touch()  # as macOS writes beside each
    lists, report = prepared("nnunet", raw)
    assert [(item["case"], item["fold"]) for item in lists["training"]] == [
        ("h_0", 1), ("h_1", 1), ("h_2", 0), ("h_3", 0)
    ]  # fmt: skip
    for item in lists["training"]:
        np.testing.assert_array_equal(voxels(item["label"]), blob({1: 1}))  # edema is none
    assert [item["case"] for item in lists["testing"]] == ["t_9"]
    assert report["unlabelled"] == 1
    lists, _ = prepared("nnunet", raw, folds=4, patient_from=r"_(\d)$")
    assert len({item["fold"] for item in lists["training"]}) == 4


def test_nnunet_chooses_the_ct_among_channels(raw: Path) -> None:
    content = json.loads((raw / "dataset.json").read_text())
    for path in list(raw.glob("images*/*_0000.nii.gz")):
        path.rename(path.with_name(path.name.replace("_0000", "_0001")))
        save(path, head(1) * 0)  # another modality
    (raw / "dataset.json").write_text(json.dumps({**content, "channel_names": {"0": "MR", "1": "ct"}}))
    lists, _ = prepared("nnunet", raw)
    assert lists["training"][0]["image"].endswith("h_0_0001.nii.gz")
    (raw / "dataset.json").write_text(json.dumps({**content, "channel_names": {"0": "T1", "1": "T2"}}))
    with pytest.raises(InputError, match="expected one channel called CT, found T1, T2"):
        prepared("nnunet", raw)


def test_nnunet_lists_files(raw: Path) -> None:
    content = json.loads((raw / "dataset.json").read_text())
    files = {"a": {"images": ["imagesTr/h_0_0000.nii.gz"], "label": "labelsTr/h_0.nii.gz"}}
    (raw / "splits_final.json").unlink()
    (raw / "dataset.json").write_text(json.dumps({**content, "dataset": files}))
    lists, _ = prepared("nnunet", raw, folds=0)
    assert [item["case"] for item in lists["training"]] == ["a"]
    (raw / "dataset.json").write_text(json.dumps({**content, "dataset": {"a": {"images": []}}}))
    with pytest.raises(InputError, match=r"expected `images` .of each channel. and `label` of a"):
        prepared("nnunet", raw)


NNUNET = {
    "version 1": (
        {"modality": {"0": "CT"}, "channel_names": None},
        "`channel_names` of nnU-Net v2, found none; `mod",
    ),
    "ending": ({"file_ending": ".png"}, "expected the `file_ending` .nii.gz or .nii, found '.png'"),
    "name": ({"labels": {"background": 0, "ICH": 1, "halo": 2}}, "found 'halo' for 2 (--labels 2=NAME"),
    "ignore": ({"labels": {"background": 0, "ICH": 1, "ignore": 2}}, "found 'ignore' for 2"),
    "value": ({"labels": {"background": 0, "ICH": 1}}, "expected mask values [0, 1], found [0, 1, 2]"),
}


@pytest.mark.parametrize(("changed", "message"), NNUNET.values(), ids=NNUNET)
def test_bad_nnunet(raw: Path, changed: dict, message: str) -> None:
    content = {**json.loads((raw / "dataset.json").read_text()), **changed}
    (raw / "dataset.json").write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    with pytest.raises(InputError) as error:
        prepared("nnunet", raw)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "splits", ["{}", "[1]", '[{"val": ["h_0"]}]', '[{"val": ["h_0", "h_1", "h_2", "h_3", "h_0"]}]']
)
def test_bad_splits(raw: Path, splits: str) -> None:
    (raw / "splits_final.json").write_text(splits)
    with pytest.raises(InputError, match=r"splits_final.json: expected"):
        prepared("nnunet", raw)


def test_export_is_read_back_the_same(raw: Path, tmp_path: Path) -> None:
    """What `export` writes, `prepare nnunet` reads: cases, folds, masks; images to the byte."""
    first, _ = prepared("nnunet", raw)
    folder = export_nnunet(raw.parent / "out" / "d.json", tmp_path / "nnUNet_raw", 12, "Head")
    assert folder.name == "Dataset012_Head"
    content = json.loads((folder / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "hemorrhage": 1}
    assert content["numTraining"] == len(list((folder / "imagesTr").iterdir())) == 4
    again, _ = prepared("nnunet", folder)
    for part in ("training", "testing"):
        for before, after in zip(first[part], again[part], strict=True):
            assert (before["case"], before.get("fold")) == (after["case"], after.get("fold"))
            np.testing.assert_array_equal(voxels(before["label"]), voxels(after["label"]))
            assert Path(before["image"]).read_bytes() == Path(after["image"]).read_bytes()
    splits = json.loads((folder / "splits_final.json").read_text())
    assert splits[0] == {"train": ["h_0", "h_1"], "val": ["h_2", "h_3"]}
    with pytest.raises(InputError, match="expected a new folder"):
        export_nnunet(raw.parent / "out" / "d.json", tmp_path / "nnUNet_raw", 12, "Head")


def test_export_of_types(tmp_path: Path) -> None:
    """Values from 0 on without gaps; hemorrhage of unknown type teaches nothing."""
    save(tmp_path / "set/a.nii", head(1))
    save(tmp_path / "set/a_mask.nii", blob({1: 2, 2: 5, 3: 255}))
    prepare("folder", tmp_path / "set", tmp_path / "d.json", folds=0, progress=False)
    folder = export_nnunet(tmp_path / "d.json", tmp_path / "raw", types=True)
    np.testing.assert_array_equal(voxels(folder / "labelsTr/a.nii.gz"), blob({1: 2, 2: 5, 3: 6}))
    assert json.loads((folder / "dataset.json").read_text())["labels"] == {
        "background": 0, "edh": 1, "iph": 2, "ivh": 3, "sah": 4, "sdh": 5, "ignore": 6
    }  # fmt: skip
    np.testing.assert_array_equal(voxels(folder / "imagesTr/a_0000.nii.gz"), head(1))
    assert not (folder / "splits_final.json").exists()


def test_export_of_names_in_capitals(tmp_path: Path) -> None:
    """What is compressed is not compressed again."""
    save(tmp_path / "a.nii.gz", head(1)).rename(tmp_path / "A.NII.GZ")
    save(tmp_path / "m.nii.gz", blob({1: 1}))
    (tmp_path / "d.json").write_text(json.dumps({"training": [{"image": "A.NII.GZ", "label": "m.nii.gz"}]}))
    folder = export_nnunet(tmp_path / "d.json", tmp_path / "raw")
    np.testing.assert_array_equal(voxels(folder / "imagesTr" / "A_0000.nii.gz"), head(1))


def test_what_cannot_be_exported(raw: Path, tmp_path: Path) -> None:
    prepared("nnunet", raw)
    path = raw.parent / "out" / "d.json"
    content = json.loads(path.read_text())
    for change, message in (
        (lambda item: item.update(slice=1), "expected NIfTI volumes"),
        (lambda item: item.pop("label"), "expected the key `label`"),
        (lambda item: item.update(case="a/b"), "a_b twice"),
    ):
        changed = json.loads(json.dumps(content))
        change(changed["training"][0])
        changed["training"][1]["case"] = "a_b"
        (path.parent / "e.json").write_text(json.dumps(changed))
        with pytest.raises(InputError, match=message):
            export_nnunet(path.parent / "e.json", tmp_path / "x")
        assert not list((tmp_path / "x").glob("*")) if (tmp_path / "x").exists() else True
    for number, name in ((0, "a"), (1000, "a"), (1, "a b")):
        with pytest.raises(InputError, match="expected"):
            export_nnunet(path, tmp_path / "x", number, name)


# -- BIDS


def bids(root: Path, files: dict[str, np.ndarray]) -> Path:
    for name, array in files.items():
        sub = name.split("_")[0]
        folder = root / sub / "ct" if name.endswith("ct") else root / "derivatives" / "manual" / sub / "ct"
        save(folder / f"{name}.nii.gz", array)
    return root


def test_bids_masks_of_types_sessions_and_the_brain(tmp_path: Path) -> None:
    root = bids(
        tmp_path / "set",
        {
            "sub-01_ses-1_ct": head(1),
            "sub-01_ses-2_ct": head(2),
            "sub-02_ct": head(3),
            "sub-03_ct": head(4),
            "sub-01_ses-1_label-IPH_mask": blob({1: 1}),
            "sub-01_ses-1_label-IVH_mask": blob({2: 1}),
            "sub-01_ses-1_desc-brain_mask": blob({1: 1, 2: 1, 3: 1}),
            "sub-01_ses-2_label-hemorrhage_mask": blob({3: 255}),
            "sub-02_mask": blob({4: 1}),
        },
    )
    lists, report = prepared("bids", root, folds=2)
    found = {item["case"]: item for item in lists["training"]}
    assert list(found) == ["sub-01_ses-1", "sub-01_ses-2", "sub-02"]
    assert [item["patient"] for item in found.values()] == ["sub-01", "sub-01", "sub-02"]
    assert found["sub-01_ses-1"]["types"] == "iph+ivh"
    np.testing.assert_array_equal(voxels(found["sub-01_ses-1"]["label"]), blob({1: 1, 2: 1}))
    np.testing.assert_array_equal(voxels(found["sub-01_ses-1"]["classes"]), blob({1: 2, 2: 3}))
    np.testing.assert_array_equal(voxels(found["sub-01_ses-2"]["label"]), blob({3: 1}))
    assert report["findings"]["missing"] == ["masks of sub-03_ct"]
    assert report["findings"]["left out"] == ["sub-01_ses-1_desc-brain_mask.nii.gz: no hemorrhage"]
    with pytest.raises(InputError, match=r"masks of .*, brain, hemorrhage, iph, ivh, found 'IHP'"):
        prepared("bids", root, folds=2, labels="IHP=sdh")


def test_bids_raters_runs_and_tables(tmp_path: Path) -> None:
    root = bids(
        tmp_path / "set",
        {
            "sub-01_run-1_ct": head(1),
            "sub-01_run-2_ct": head(2),
            "sub-01_run-2_desc-anna_mask": blob({1: 1}),
            "sub-01_run-2_desc-bert_mask": blob({2: 1}),
        },
    )
    with pytest.raises(InputError, match=r"found 'anna' .--labels anna=hemorrhage says"):
        prepared("bids", root, folds=0)
    lists, _ = prepared("bids", root, folds=0, rater="bert")
    assert [item["case"] for item in lists["training"]] == ["sub-01_run-2"]
    np.testing.assert_array_equal(voxels(lists["training"][0]["label"]), blob({2: 1}))
    save(root / "derivatives/manual/sub-01/ct/sub-01_run-1_dseg.nii.gz", blob({1: 7, 2: 8}))
    with pytest.raises(InputError, match="expected a table of its values"):
        prepared("bids", root, folds=0, rater="bert")
    (root / "derivatives/manual/dseg.tsv").write_text("index\tname\n7\tSDH\n8\tedema\n")
    lists, _ = prepared("bids", root, folds=0, rater="bert")
    np.testing.assert_array_equal(voxels(lists["training"][0]["classes"]), blob({1: 5}))
    save(root / "derivatives/manual/sub-01/ct/sub-01_mask.nii.gz", blob({1: 1}))
    with pytest.raises(InputError, match=r"expected one CT of sub-01 .* found sub-01_run-1_ct"):
        prepared("bids", root, folds=0, rater="bert")


def test_bids_without_masks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected sub-\*_ct.nii.gz"):
        prepared("bids", bids(tmp_path / "set", {"sub-01_mask": blob({})}))
    with pytest.raises(InputError, match=r"expected masks of hemorrhage, found none among 1"):
        prepared("bids", bids(tmp_path / "b", {"sub-01_ct": head(1), "sub-01_label-WM_mask": blob({1: 1})}))
