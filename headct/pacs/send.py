"""Objects into an archive, each once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headct.pacs.client import Pacs
from headct.pacs.query import answers
from tools.core.errors import InputError

if TYPE_CHECKING:
    import pydicom

__all__ = ["send_objects"]


def send_objects(pacs: Pacs, objects: Sequence[pydicom.Dataset]) -> int:
    """Store the objects that are not there yet.

    Args:
        pacs: where.
        objects: of one study.

    Returns:
        how many were stored.

    Raises:
        InputError: the server does not answer, or does not take one.
    """
    study, stored = str(objects[0].StudyInstanceUID), 0
    for dataset in objects:
        uid = str(dataset.SOPInstanceUID)
        with pacs.answering("looking for results that are there"):
            there = answers(
                pacs.client.search_for_instances, "SOPInstanceUID", study, filters={"SOPInstanceUID": uid}
            )
        if uid in there:
            continue
        with pacs.answering("storing results"):
            answer = pacs.client.store_instances([dataset], study)
        refused = answer.get("FailedSOPSequence") or []
        if refused:
            reason = refused[0].get("FailureReason", "none")
            raise InputError(
                f"{pacs.url}: expected the {dataset.Modality} of study {study} to be stored, found it "
                f"refused (reason {reason})"
            )
        stored += 1
    return stored
