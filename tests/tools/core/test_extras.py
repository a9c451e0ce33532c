"""A package that only some tasks need is asked for in one line."""

from __future__ import annotations

import importlib
import sys

import pytest

from tools.core.errors import InputError
from tools.core.extras import extra_packages


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "pydicom.errors", raising=False)
    with (
        pytest.raises(
            InputError, match=r"^reading DICOM needs .* pydicom.*: pip install pydicom highdicom dcm2niix "
        ),
        extra_packages("reading DICOM"),
    ):
        importlib.import_module("pydicom")


def test_a_missing_package_that_is_no_extra_stays_an_error_of_its_own():
    with pytest.raises(ModuleNotFoundError, match="no_such_package"), extra_packages("reading DICOM"):
        importlib.import_module("no_such_package")
