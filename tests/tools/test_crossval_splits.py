"""Cross-validation by slice: only when it is asked for, and never without its warning."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from tools.crossval import assign_folds, compare_splits, crossval
from tools.errors import InputError
from tools.metrics.report import case_row
from tools.splits import LEAK_WARNING

TYPES = ["edh", "edh+sah", "", "", "sdh"]


def slices(patients: int = 6, each: int = 10) -> list[dict]:
    return [
        {
            "image": f"{p}/{k}.jpg",
            "case": f"{p}_{k:03d}",
            "patient": str(p),
            "slice": k,
            "types": TYPES[k % 5],
        }
        for p in range(patients)
        for k in range(each)
    ]


def test_dealt_by_slice_alike_in_types():
    dealt = assign_folds(slices(), 5, by="slice")
    assert [item["case"] for item in dealt] == [item["case"] for item in slices()]
    for kind in set(TYPES):
        count = Counter(item["fold"] for item in dealt if item["types"] == kind)
        assert max(count.values()) - min(count.values()) <= 1
        assert len(count) == 5
    assert dealt == assign_folds(slices(), 5, by="slice")
    assert dealt != assign_folds(slices(), 5, seed=1, by="slice")


def test_patients_are_kept_together_unless_slices_are_asked_for():
    """A datalist that was split by slice is split anew by patient, and kept where slices are asked for."""
    leaking = assign_folds(slices(), 5, by="slice")
    kept = assign_folds(leaking, 5, seed=3, by="slice")
    assert kept == leaking
    dealt = assign_folds(leaking, 5)
    for patient in range(6):
        assert len({item["fold"] for item in dealt if item["patient"] == str(patient)}) == 1
    # folds by patient are no split by slice
    assert assign_folds(dealt, 5, by="slice") != dealt


def test_volumes_cannot_be_split_by_slice():
    with pytest.raises(InputError, match=r"case_1: expected single slices .* found a volume"):
        assign_folds([{"image": "case_1.nii.gz", "case": "case_1"}], 2, by="slice")
    with pytest.raises(InputError, match="number of slices, found 61"):
        assign_folds(slices(), 61, by="slice")


def test_unknown_split():
    with pytest.raises(InputError, match="patient, slice, found 'scan'"):
        crossval("se_unet3d", by="scan")


def test_table_of_both_splits_with_the_warning(tmp_path):
    def rows(tp: int) -> list[dict]:
        lesion = case_row("a", None, torch.tensor([[tp, 10 - tp, 10 - tp]]), 1.0)
        return [{**lesion, "fold": 0}, {**case_row("b", None, torch.tensor([[0, 0, 0]]), 1.0), "fold": 1}]

    page = compare_splits({("unet", "patient"): rows(3), ("unet", "slice"): rows(8)}, tmp_path)
    lines = [line for line in page.splitlines() if line.startswith("| unet")]
    assert lines[0].startswith("| unet | patient | 2 | 0.65 |")  # (0.3 + 1) / 2
    assert "| 0.3 |" in lines[0]
    assert lines[1].startswith("| unet | slice | 2 | 0.9 |")
    assert LEAK_WARNING in page
    assert (tmp_path / "splits.md").read_text() == page
