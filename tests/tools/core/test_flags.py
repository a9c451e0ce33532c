"""Switches of the command line."""

from __future__ import annotations

import pytest

from tools.core.flags import is_true


@pytest.mark.parametrize(
    ("word", "expected"), [("false", False), ("True", True), ("off", False), (False, False), (None, False)]
)
def test_switches_of_the_command_line(word, expected):
    assert is_true(word) is expected
