"""Values of masks by their names, and by what the user says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from headct.datasets.class_values import class_values
from tools.core.errors import InputError


def test_unknown_names_need_a_mapping() -> None:
    names, path = {0: "background", 1: "ICH", 2: "halo"}, Path("dataset.json")
    with pytest.raises(InputError, match=r"found 'halo' for 2 .--labels 2=NAME says what it is"):
        class_values(names, path)
    for given in ({"halo": "edema"}, {"2": "background"}, {"HALO": "PHE"}):
        assert class_values(names, path, given) == {0: 0, 1: 255, 2: 0}
    assert class_values({}, path, {"1": "iph", "2": "ivh"}) == {1: 2, 2: 3}
    with pytest.raises(InputError, match="found 'core'"):
        class_values(names, path, {"halo": "edema", "core": "iph"})
    with pytest.raises(InputError, match="found 'something' for 2"):
        class_values(names, path, {"2": "something"})
