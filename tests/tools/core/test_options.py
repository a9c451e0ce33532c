"""Mappings of a configuration as dataclasses."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tools.core.errors import InputError
from tools.core.options import options_of


@dataclass(frozen=True)
class Size:
    width: int = 1
    height: int = 2


def test_options_from_all_that_stands_for_them():
    given = Size(3)
    assert options_of(Size, given) is given
    assert options_of(Size, {"height": 5}) == Size(1, 5)
    assert options_of(Size, None) == options_of(Size, {}) == Size()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hight": 5}, "Size: expected options among width, height, found hight"),
        ("wide", "Size: expected a mapping of options, found 'wide'"),
    ],
)
def test_what_stands_for_none_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        options_of(Size, given)
