"""No patient on both sides of a split."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tools.core.errors import InputError
from tools.core.names import is_picture

SPLITS = ("patient", "slice")
LEAK_WARNING = (
    "Split by slice: neighbouring slices of one patient lie in different folds, so scores are optimistic "
    "(published figures on CT-ICH: about 0.7 and more by slice, 0.3 to 0.4 by patient)."
)

Datalist = Mapping[str, Sequence[Mapping[str, Any]]]

logger = logging.getLogger(__name__)


def one_side_per_patient(datalist: Datalist, split: str = "patient") -> Datalist:
    """Check that all images of a patient lie in one fold, or in the test set.

    A volume without the key `patient` is a patient of its own. Every `train.yaml` checks its datalist so.

    Args:
        datalist: lists `training` and `testing` of entries, see `tools.data.datalist.load_datalist`.
        split: "patient"; or "slice", see `LEAK_WARNING`.

    Returns:
        the datalist.

    Raises:
        InputError: `split` is unknown; by patient, a slice has no patient, or a patient is on two sides.
    """
    if split not in SPLITS:
        raise InputError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}")
    if split == "slice":
        logger.warning(LEAK_WARNING)
        return datalist
    sides: dict[str, dict[str, str]] = {}
    for part in ("training", "testing"):
        for item in datalist[part]:
            image, patient = item["image"], item.get("patient")
            if patient is None:
                if is_picture(image) or item.get("slice") is not None:
                    raise InputError(
                        f"{image}: expected the key `patient` in the datalist entry of a single slice, "
                        "found none; with --split slice it is not needed"
                    )
                continue
            side = "the test set" if part == "testing" else f"fold {item.get('fold')}"
            sides.setdefault(str(patient), {})[side] = image
    for patient, own in sides.items():
        if len(own) > 1:
            where = " and ".join(f"{side} ({image})" for side, image in sorted(own.items())[:2])
            raise InputError(
                f"patient {patient}: expected all images on one side of the split, found {where}"
            )
    return datalist
