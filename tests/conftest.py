"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
        ),
    ]
)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device of this machine that the numeric code promises to run on."""
    return torch.device(request.param)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real head CT images, named by the environment variable HEADCT_REAL_DATA."""
    root = os.environ.get("HEADCT_REAL_DATA")
    if not root:
        pytest.skip("HEADCT_REAL_DATA is not set: no real images to test on")
    path = Path(root)
    if not path.is_dir():
        pytest.fail(f"HEADCT_REAL_DATA={root} is not a folder")
    return path


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every run, whichever tests run before."""
    torch.manual_seed(0)
