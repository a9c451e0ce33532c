"""The configurations hold what MONAI, the model zoo and MONAI Label look for."""

from __future__ import annotations

import pytest

from tests.bundles.config_checks import *  # noqa: F403


@pytest.fixture
def overrides(tiny_slices):
    return tiny_slices
