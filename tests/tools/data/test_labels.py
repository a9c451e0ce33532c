"""Names of mask values: what they stand for, and what no one can know."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.core.errors import InputError
from tools.data.labels import class_value, listed_names

NAMES = {
    0: ("background", "BG", "PHE", "perihematomal edema", "Oedema", "peri-hematomal edema", "no hemorrhage"),
    1: ("EDH", "epidural", "Epidural_Hematoma", "extra-dural haemorrhage", "EPH"),
    2: ("iph", "Intraparenchymal hemorrhage", "intra_parenchymal", "intracerebral haematoma", "ICH (IPH)"),
    3: ("IVH", "IntraventricularHemorrhage", "intra-ventricular bleed"),
    4: ("SAH", "Subarachnoid", "traumatic subarachnoid hemorrhage"),
    5: ("sdh", "acute subdural hematoma", "sub dural"),
    255: ("ICH", "hemorrhage", "Intracranial Haemorrhage", "hématome", "lesion", "edh+sdh", "blood"),
    None: (
        "tumor",
        "ventricles",
        "brain",
        "1",
        "",
        "hemorrhage and edema",
        "ignore",
        "non-traumatic hemorrhage",
    ),
}


@pytest.mark.parametrize(
    ("value", "name"), [(value, name) for value, names in NAMES.items() for name in names]
)
def test_names(value: int | None, name: str) -> None:
    assert class_value(name) == value


def test_forms_of_labels() -> None:
    path = Path("dataset.json")
    assert listed_names({"0": "background", "1": "ICH"}, path) == {0: "background", 1: "ICH"}
    assert listed_names({"background": 0, "ICH": 1, "PHE": 2}, path) == {0: "background", 1: "ICH", 2: "PHE"}
    regions = {"background": 0, "hemorrhage": [1, 2], "ivh": [2]}
    assert listed_names(regions, path) == {0: "background", 1: "hemorrhage", 2: "ivh"}
    for wrong in (
        ["ICH"],
        {"ICH": 1.5},
        {"ICH": "one"},
        {"ICH": 1, "IVH": 1},
        {"1": 2, "2": 3},
        {"ICH": 300},
    ):
        with pytest.raises(InputError, match=r"dataset\.json: expected"):
            listed_names(wrong, path)
