"""Every bundle's copies of the overlays are those that `headct.zoo.overlays` writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from headct.zoo.overlays import KINDS, overlays

BUNDLES = Path(__file__).resolve().parents[3] / "bundles"


def test_every_bundle_has_them():
    assert set(KINDS) == {path.parents[1].name for path in BUNDLES.glob("*/configs/train.yaml")}


@pytest.mark.parametrize("name", KINDS)
def test_copies_are_as_written(name):
    for file, text in overlays(KINDS[name]).items():
        path = BUNDLES / name / "configs" / file
        assert path.read_text() == text, f"{path}: run python -m headct.zoo.overlays"
