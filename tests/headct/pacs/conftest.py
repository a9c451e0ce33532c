"""A PACS with scans in it, and the small bundle of the tests of `headct predict`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.headct.pacs.orthanc import PASSWORD, USER, Orthanc, start
from tests.headct.predict.conftest import bright, head, write_series

__all__ = ["bright", "head"]


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Orthanc, once for all tests."""
    yield from start(tmp_path_factory.mktemp("orthanc"))


@pytest.fixture
def orthanc(server: Orthanc, monkeypatch: pytest.MonkeyPatch) -> Orthanc:
    """It, empty, and its credentials in the environment."""
    server.clear()
    for name, value in {"USER": USER, "PASSWORD": PASSWORD}.items():
        monkeypatch.setenv(f"HEADCT_DICOMWEB_{name}", value)
    return server


@pytest.fixture
def series(tmp_path: Path) -> Callable[..., Path]:
    """Writes a series of a study; its UIDs tell it from those of another."""

    def write(image: object, study: str = "1.2.826.0.2", number: int = 2, **tags: object) -> Path:
        def uids(i: int, dataset: object) -> None:
            dataset.SOPInstanceUID = f"{study}.{number}.{i + 1}"
            dataset.SeriesInstanceUID = f"{study}.{number}"

        folder = tmp_path / "scans" / f"{study}_{number}"
        return write_series(folder, image, number=number, StudyInstanceUID=study, change=uids, **tags)

    return write
