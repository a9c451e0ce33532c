"""Cross-validation by slice: only when it is asked for, and never without its warning."""

from __future__ import annotations

import pytest
import torch

from headct.runs.crossval import compare_splits, crossval
from tools.core.errors import InputError
from tools.data.splits import LEAK_WARNING
from tools.report.handler import case_row


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
