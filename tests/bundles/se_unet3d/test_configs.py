"""The configurations hold what MONAI, the model zoo and MONAI Label look for."""

from __future__ import annotations

import pytest

from tests.bundles.config_checks import *  # noqa: F403


@pytest.fixture(params=[[], ["configs/variants/demo.yaml"]], ids=["default", "demo"])
def training_files(request):
    return ["configs/train.yaml", *request.param]
