"""Slices in the layout of CT-ICH for the papers that used it: the user's copy, or phantoms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headct.datasets import prepare
from tools.core.tables import write_json
from tools.data.datalist import Item, load_datalist
from tools.phantom import write_phantoms

__all__ = ["SliceData", "slice_data"]


@dataclass(frozen=True)
class SliceData:
    """A prepared data set of single slices.

    Args:
        training, testing: datalist entries with absolute paths; those of training have a `fold`.
        patients: age and sex by patient.
        text: what it is, for a page.
        split: how it was split, for a page.
    """

    training: list[Item]
    testing: list[Item]
    patients: Mapping[str, Mapping[str, Any]]
    text: str
    split: str

    def cases(self) -> str:
        """Numbers of patients and slices, for a page."""
        items = [*self.training, *self.testing]
        bleeding = sum(bool(item["hemorrhage"]) for item in items)
        patients = len({item["patient"] for item in items})
        return f"{patients} patients, {len(items)} slices, {bleeding} of them with hemorrhage"

    def write(self, folder: Path, test_fold: int | None = None) -> Path:
        """Write `dataset.json` to a folder; a fold that is set aside is its test set.

        Args:
            folder: to write to.
            test_fold: the fold that is tested on; None for the test set of the split.
        """
        inside = [item for item in self.training if test_fold is None or item["fold"] != test_fold]
        tested = self.testing if test_fold is None else [i for i in self.training if i["fold"] == test_fold]
        write_json(folder / "dataset.json", {"training": inside, "testing": tested})
        return folder


def slice_data(
    work_dir: Path,
    phantom: Mapping[str, Any],
    root: str | Path | None = None,
    folds: int = 5,
    by: str = "patient",
    test: float = 0.0,
    balance: bool = False,
    seed: int = 0,
) -> SliceData:
    """Prepare CT-ICH 1.0.0 (`root`), or make phantoms in its layout first.

    Args:
        work_dir: folder for the phantoms and the datalist.
        phantom: arguments of `tools.phantom.write_phantoms`.
        root: the user's CT-ICH 1.0.0; None for phantoms.
        folds, by, test, balance, seed: see `headct.datasets.prepare`.

    Raises:
        InputError: see `prepare`.
    """
    source = Path(root).expanduser().resolve() if root else work_dir / "phantoms"
    if not root:
        write_phantoms(source, layout="ct_ich_v1", **phantom)
    name = f"{'ct_ich' if root else 'phantoms'}_by_{by}.json"
    options: dict[str, Any] = {"folds": folds, "by": by, "test": test, "balance": balance, "seed": seed}
    prepare("ct_ich_v1", source, work_dir / name, progress=False, **options)
    lists = load_datalist(work_dir / name, label_values=None)
    patients = json.loads((work_dir / name).read_text())["patients"]
    text = "CT-ICH 1.0.0" if root else f"synthetic slices in the layout of CT-ICH 1.0.0 ({_words(phantom)})"
    split = f"{folds} folds by {by}" + (f", {test:.0%} of the {by}s set aside for testing" if test else "")
    return SliceData(lists["training"], lists["testing"], patients, text, split)


def _words(phantom: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in phantom.items())
