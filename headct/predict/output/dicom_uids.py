"""UIDs of results that are the same whenever the same models with the same settings saw the same images."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tools.core.extras import extra_packages

if TYPE_CHECKING:
    from headct.predict.results import Case

with extra_packages("DICOM SEG"):
    from pydicom.uid import UID, generate_uid

__all__ = ["ResultUIDs", "stored_uid"]

#: Of what a case depends on, that which changes nothing in the DICOM objects: the files' own checksum, since
#: an archive may store an image in other bytes, and what else is written beside them.
IDLE = ("input", "maps", "viewer", "keep_identifiers", "prior")


class ResultUIDs:
    """UIDs of all that one result consists of.

    Args:
        case: with its settings, checksums of weights, and the correction where there is one.
        images: SOPInstanceUIDs of the images that it was made from, in any order.
    """

    def __init__(self, case: Case, images: Iterable[str]) -> None:
        settings = {key: value for key, value in case.settings.items() if key not in IDLE}
        by_hand = case.corrected.sha256 if case.corrected else ""
        weights = [model.sha256 for model in case.models]
        self._origin = [*sorted(map(str, images)), json.dumps([settings, weights, by_hand], sort_keys=True)]

    def of(self, role: str) -> UID:
        """The UID of one thing, such as `SEG series`."""
        return generate_uid(entropy_srcs=[*self._origin, role])


def stored_uid(uid: str) -> UID:
    """The UID in an archive of what has this UID in a file.

    They differ, since the contents do: what is stored names the patient, a file does not.
    """
    return generate_uid(entropy_srcs=[str(uid), "stored"])
