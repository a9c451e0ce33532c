"""Which studies of an archive are meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headct.pacs.client import Pacs
from tools.core.errors import InputError

__all__ = ["StudyQuery", "answers", "find_studies"]

PAGE = 500  # of results; servers that give fewer are asked again
DATE = re.compile(r"(\d{8})?(-)?(\d{8})?")


@dataclass(frozen=True, kw_only=True)
class StudyQuery:
    """What is asked for; all that is given must fit.

    Attributes:
        study: StudyInstanceUID.
        patient_id: the patient's number, as a whole; it is never in a message.
        date_range: YYYYMMDD-YYYYMMDD, either end open, or one day.
        modality: of one series at least; only CT can be predicted.
        all_studies: take all studies that fit, not only one.

    Raises:
        InputError: nothing says which study, a UID or dates that are none, or a wildcard.
    """

    study: str | None = None
    patient_id: str | None = None
    date_range: str | None = None
    modality: str = "CT"
    all_studies: bool = False

    def __post_init__(self) -> None:
        if not (self.study or self.patient_id or self.date_range):
            raise InputError("dicomweb: expected --study, --patient-id or --date-range, found none of them")
        if self.study and not (re.fullmatch(r"\d+(\.\d+)+", self.study) and len(self.study) <= 64):
            raise InputError(f"--study: expected a StudyInstanceUID, numbers and dots, found {self.study!r}")
        if self.patient_id and re.search(r"[*?\\]", self.patient_id):
            raise InputError("--patient-id: expected one patient's number, found a wildcard or backslash")
        if self.date_range:
            _check_dates(self.date_range)
        if not re.fullmatch(r"[A-Z][A-Z0-9]{1,15}", self.modality):
            raise InputError(f"--modality: expected a code such as CT, found {self.modality!r}")

    @property
    def filters(self) -> dict[str, str]:
        """The attributes to match, for a search for studies."""
        wanted = {
            "StudyInstanceUID": self.study,
            "PatientID": self.patient_id,
            "StudyDate": self.date_range,
            "ModalitiesInStudy": self.modality,
        }
        return {key: value for key, value in wanted.items() if value}


def find_studies(pacs: Pacs, query: StudyQuery) -> list[str]:
    """StudyInstanceUIDs of the studies that are meant, in the order of the UIDs.

    Raises:
        InputError: none, or several where one was expected.
    """
    with pacs.answering("searching for studies"):
        fields = ["PatientID", "StudyDate", "ModalitiesInStudy"]
        search = pacs.client.search_for_studies
        found = answers(search, "StudyInstanceUID", filters=query.filters, fields=fields)
    uids = sorted(uid for uid, study in found.items() if _fits(uid, study, query))
    asked = f"study with {query.modality}" + (f" {query.study}" if query.study else "")
    if not uids:
        raise InputError(f"{pacs.url}: expected a {asked}, found none that fits")
    if len(uids) > 1 and not query.all_studies:
        some = ", ".join(uids[:3]) + (", ..." if len(uids) > 3 else "")
        raise InputError(
            f"{pacs.url}: expected one {asked}, found {len(uids)}: {some}; choose one by --study, or take "
            "them all by --all-studies"
        )
    return uids


def answers(
    search: Callable[..., list[dict[str, Any]]],
    key: str,
    *place: str,
    filters: dict[str, str],
    fields: Sequence[str] = (),
) -> dict[str, Any]:
    """All results of a search, page by page; a server that knows no pages gives all at once.

    Args:
        search: a method of dicomweb-client.
        key: keyword of the UID that tells results apart.
        place: UIDs above it.
        filters: attributes to match.
        fields: further attributes to be told.

    Returns:
        data sets by UID.
    """
    from pydicom import Dataset

    found: dict[str, Any] = {}
    while True:
        page = search(
            *place, limit=PAGE, offset=len(found), fields=list(fields) or None, search_filters=filters
        )
        results = [Dataset.from_json(item) for item in page]
        new = {str(result[key].value): result for result in results if result.get(key)}
        if not new.keys() - found.keys():
            return found
        found |= new


def _fits(uid: str, study: Any, query: StudyQuery) -> bool:
    """Whether a result is what was asked for: some servers ignore what they do not know."""
    number = str(study.get("PatientID", "") or "").strip()
    day = str(study.get("StudyDate", "") or "").replace(".", "").strip()
    first, to, last = (query.date_range or "").partition("-")
    last = last or ("9" if to else first)
    found = study.get("ModalitiesInStudy") or query.modality  # where it isn't told, the series tell
    return (
        query.study in (None, uid)
        and query.patient_id in (None, number)
        and (not query.date_range or max(first, "0") <= day <= last)
        and query.modality in ([found] if isinstance(found, str) else found)
    )


def _check_dates(text: str) -> None:
    match = DATE.fullmatch(text)
    days = [day for day in (match[1], match[3]) if day] if match else []
    try:
        for day in days:
            datetime.strptime(day, "%Y%m%d")
    except ValueError:
        days = []
    if not days or (match and match[3] and not match[2]) or days != sorted(days):
        raise InputError(f"--date-range: expected YYYYMMDD-YYYYMMDD, found {text!r}")
