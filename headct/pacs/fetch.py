"""The CT images of a study, into a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headct.pacs.client import Pacs
from headct.pacs.query import answers
from tools.core.errors import InputError
from tools.core.limits import in_gb, max_bytes

__all__ = ["fetch_study"]

MOST_GB = 8.0  # of one study, as of one zip
ANY_SYNTAX = (("application/dicom", "*"),)  # as it was stored, so that nothing is converted on the way


def fetch_study(
    pacs: Pacs, study: str, folder: Path, modality: str = "CT", tick: Callable[[], object] = lambda: None
) -> None:
    """Write every image of a study's CT series to a folder, under names that say nothing.

    Which of the series is taken is decided afterwards, by their pictures, as of a folder.

    Args:
        pacs: where.
        study: StudyInstanceUID.
        folder: an empty one.
        modality: of the series.
        tick: is called after every image.

    Raises:
        InputError: the study has no such series, is too large, is incomplete when it arrives, or the server
            does not answer.
    """
    filters = {"Modality": modality}
    with pacs.answering("searching for series"):
        series = answers(
            pacs.client.search_for_series, "SeriesInstanceUID", study, filters=filters, fields=["Modality"]
        )
    wanted = sorted(uid for uid, found in series.items() if found.get("Modality", modality) == modality)
    if not wanted:
        raise InputError(f"study {study}: expected a series of modality {modality}, found none")
    size = 0
    for number, uid in enumerate(wanted, start=1):
        place = folder / f"series_{number}"
        place.mkdir(parents=True)
        size = _fetch_series(pacs, study, uid, place, size, tick)


def _fetch_series(
    pacs: Pacs, study: str, uid: str, place: Path, size: int, tick: Callable[[], object]
) -> int:
    """Write a series; returns the bytes of the study so far."""
    with pacs.answering("fetching images"):
        expected = answers(pacs.client.search_for_instances, "SOPInstanceUID", study, uid, filters={})
        arrived: set[str] = set()
        for image in pacs.client.iter_series(study, uid, media_types=ANY_SYNTAX):
            if str(image.get("StudyInstanceUID", "")) != study:
                raise InputError(f"study {study}: expected its images, found one of another study")
            file = place / f"{len(arrived):06d}.dcm"
            image.save_as(file, enforce_file_format=True)
            arrived.add(str(image.SOPInstanceUID))
            size += file.stat().st_size
            if size > max_bytes(MOST_GB):
                raise InputError(
                    f"study {study}: expected at most {in_gb(max_bytes(MOST_GB))}, found more "
                    "(HEADCT_MAX_GB raises the limit)"
                )
            tick()
    missing = len(expected.keys() - arrived)
    if missing:
        raise InputError(
            f"study {study}: expected the {len(expected)} images that the server lists of a series, found "
            f"{missing} of them missing"
        )
    return size
