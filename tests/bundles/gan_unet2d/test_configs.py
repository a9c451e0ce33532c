"""The configurations hold what MONAI, the model zoo and MONAI Label look for."""

from __future__ import annotations

import pytest

from tests.bundles.config_checks import *  # noqa: F403
from tests.bundles.runs import check_shipped_weights


@pytest.fixture
def overrides(tiny_slices):
    return tiny_slices


def test_shipped_weights(bundle, tmp_path):
    check_shipped_weights(tmp_path)
