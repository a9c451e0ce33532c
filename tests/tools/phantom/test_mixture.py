"""The mixture of heads that networks learn from."""

from __future__ import annotations

import pytest

from tests.tools.phantom.label_map import small_head, write_map
from tools.core.errors import InputError
from tools.phantom.mixture import training_heads


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    for name in ("b", "a", "c"):
        write_map(folder / f"{name}.nii.gz", small_head(0.5))
    return folder


def test_no_head_is_made_of_a_map_of_the_validation(maps):
    cases = training_heads(maps, maps / "a.nii.gz", ["a"], per_person=2, heads=8)
    assert [source.get("maps") for source in cases.sources] == [["b", "c"], ["b", "c"], ["b"], None]
    assert cases.shares == pytest.approx([0.35, 0.35, 0.2, 0.1])
    assert (cases.per_person, cases.heads) == (2, 8)


def test_what_is_missing_is_named(maps):
    with pytest.raises(InputError, match="expected anatomy, a folder of label maps, found none"):
        training_heads(None, maps / "a.nii.gz")
    with pytest.raises(InputError, match="expected background, a scan, found none"):
        training_heads(maps, None)
    with pytest.raises(InputError, match="besides those of the validation, found none"):
        training_heads(maps, maps / "a.nii.gz", ["a", "b", "c"])
