"""The fair test of Abramova 2021: its rows, and a page whose figures are counted by hand."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np

from headct.reproduce.fair import abramova2021 as fair
from headct.reproduce.fair.abramova2021_page import PARTS, draw, make_page
from headct.runs.find_bundle import check_keys, config_files, find_bundle


def test_rows_are_configurations_with_equally_many_patches():
    folder = find_bundle(fair.BUNDLE)
    shown = set()
    for row in fair.ROWS.values():
        check_keys(folder, config_files(folder, row.overlays), {**fair.KEYS, **row.keys})
        shown.add(row.keys["patches_per_case"] * row.keys["max_epochs"])
    heads = sum(fair.HEADS.training.values())
    assert all(fair.PATCHES <= heads * patches < fair.PATCHES + 6 * heads for patches in shown)
    assert {name for part in PARTS for name in part.rows} == set(fair.ROWS)
    assert all(set(pair) <= set(part.rows) for part in PARTS for pair in part.pairs)


def test_page(tmp_path):
    """Four test heads, two with IVH; a small lesion, a box, an L and a box."""
    cases, items = ["a", "b", "c", "d"], []
    for number, case in enumerate(cases):
        mask = np.zeros((12, 12, 6), np.uint8)
        mask[2:8, 2:8, : 1 if case == "a" else 4] = 1
        if case == "c":
            mask[5:8, 5:8] = 0
        for name, volume in (
            ("image", mask * 50.0),
            ("label", mask),
            ("ventricles", mask * 0),
            ("brain", mask + 1),
        ):
            (tmp_path / name).mkdir(exist_ok=True)
            nib.save(
                nib.Nifti1Image(volume.astype(np.int16), np.diag([3.0, 3, 5, 1])),
                tmp_path / name / f"{case}.nii.gz",
            )
        files = {name: f"{name}/{case}.nii.gz" for name in ("image", "label", "ventricles", "brain")}
        items.append({"case": case, "ivh": number % 2 == 0, **files})
    datalist = tmp_path / "dataset.json"
    datalist.write_text(json.dumps({"training": [], "testing": items}))

    def rows(*dice):
        return [
            {"case": case, "ivh": i % 2 == 0, "dice": d}
            for i, (case, d) in enumerate(zip(cases, dice, strict=True))
        ]

    tables = {
        "brain": {0: rows(0.2, 0.6, 0.4, 0.95), 1: rows(0.4, 0.8, 0.6, 0.85)},
        "final": {0: rows(0.5, 0.7, 0.7, 0.9)},
    }
    for name in tables:
        predictions = tmp_path / "runs" / f"{name}_seed_0" / "run" / "eval" / "predictions"
        predictions.mkdir(parents=True)
        for case in cases:
            (predictions / f"{case}_seg.nii.gz").write_bytes(
                (tmp_path / "label" / f"{case}.nii.gz").read_bytes()
            )
    pictures = draw(tables, datalist, tmp_path / "runs", tmp_path)
    page = make_page(
        "the command", fair.ROWS, tables, fair.HEADS, fair.KEYS, datalist, tmp_path / "runs", pictures
    )
    assert "| brain | 2 | 0.807 | 0.600 ± 0.088 | 0.664 | 0.400 ± 0.141 | 0.831 | 0.800 ± 0.035 |" in page
    assert "| final | 1 | 0.862 | 0.700 | 0.777 | 0.600 | 0.876 | 0.800 |" in page
    assert "| brain | 0.300 ± 0.141 | 0.900 ± 0.071 | 2.5 ± 0.7 | 1.0 ± 0.0 | 0.5 ± 0.7 |" in page
    assert "| brain | final | ivh | 2 | +0.300 |" in page
    assert (
        "| DSC | small (1) | larger (3) | larger, with IVH (1) | larger, regular (2) | larger, irregular"
        in page
    )
    assert "| final | 0.500 | 0.767 | 0.700 | 0.800 | 0.700 | 1.0 |" in page
    assert "36 to train on, 2 to validate, 24 to test" in page
    assert "20016 of 24x24x8 voxels in batches of 16: 1251 steps" in page
    assert "| final | 0.70 | 0.00 | 0.00 |" not in page  # volumes are of the masks, not of the scores
    for picture in pictures:
        assert f"![{picture.stem}]({picture.name})" in page
        assert 2_000 < picture.stat().st_size < 300_000
