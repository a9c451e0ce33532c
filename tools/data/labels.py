"""Names of mask values, as data sets write them -> our class values; what no one can know is refused."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.core.classes import CLASS_VALUES, UNKNOWN_VALUE
from tools.core.errors import InputError

BLOOD = (
    "hemorrhage haemorrhage hemorrhages haemorrhages hemorrhagic hematoma haematoma hematomas "
    "haematomas bleed bleeds bleeding blood ich lesion lesions foreground mask any blutung "
    "hemorragia emorragia hemorragie hematome hematom"
)
BESIDE = "intracranial acute brain spontaneous traumatic region area class type of the and or total"
TYPES = {
    "edh": "edh eph epidural extradural",
    "iph": "iph intraparenchymal parenchymal intracerebral",
    "ivh": "ivh intraventricular ventricular",
    "sah": "sah subarachnoid",
    "sdh": "sdh subdural",
}
NO_BLOOD = "background bg phe edema oedema perihematomal perihaematomal perihemorrhagic normal no"
WORDS = {
    **{word: None for word in BESIDE.split()},
    **{word: UNKNOWN_VALUE for word in BLOOD.split()},
    **{word: CLASS_VALUES[kind] for kind, words in TYPES.items() for word in words.split()},
    **{word: 0 for word in NO_BLOOD.split()},
}


def class_value(name: str) -> int | None:
    """The class value of a name: 0 for background and edema, 1-5 for a type, 255 for hemorrhage of any type.

    "Intraparenchymal hemorrhage", "intra_parenchymal" and "IPH" are one; "edh+sdh" is 255. None for a name
    with any word that is not known.
    """
    text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()
    text = re.sub(r"\b(intra|sub|epi|extra|peri)[\W_]+", r"\1", re.sub(r"[\W_]+", " ", text))
    words = text.split()
    if not words or any(word not in WORDS for word in words):
        return None
    values = {WORDS[word] for word in words} - {None}
    if 0 in values:  # "no hemorrhage" is none; "hemorrhage and edema" is neither
        return 0 if len(values) == 1 or "no" in words else None
    types = values - {UNKNOWN_VALUE}
    return types.pop() if len(types) == 1 else UNKNOWN_VALUE if values else None


def listed_names(labels: Any, path: Path) -> dict[int, str]:
    """Names by value of `labels` in a dataset.json: the Decathlon's {"1": "ICH"}, or nnU-Net's {"ICH": 1}.

    Of nnU-Net's regions (lists of values) a value has the name of the smallest that it lies in.

    Raises:
        InputError: another form, or two names for one value.
    """
    expected = f'{path}: expected `labels` as {{"1": "hemorrhage"}} or {{"hemorrhage": 1}}'
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise InputError(f"{expected}, found {labels!r}")
    by_value = all(str(key).isdecimal() for key in labels)
    named: dict[int, tuple[int, str]] = {}
    for key, entry in labels.items():
        name, values = (entry, [key]) if by_value else (key, entry if isinstance(entry, list) else [entry])
        size = len(values)
        for value in values:
            number = str(value).isdecimal() and not isinstance(value, float) and int(value) <= 255
            if not number or not isinstance(name, str):
                raise InputError(f"{expected}, found {key!r}: {entry!r}")
            other = named.get(int(value))
            if other and other[0] == size and other[1] != name:
                raise InputError(f"{path}: expected one name for the value {value}, found {other[1]}, {name}")
            if not other or size < other[0]:
                named[int(value)] = (size, name)
    return {value: name for value, (_, name) in sorted(named.items())}


def check_hemorrhage(path: Path, labels: Any) -> None:
    """Raise `InputError` where the `labels` of a datalist say that its value 1 is no hemorrhage.

    The bundles' masks hold 0 and 1, whatever they are called; edema or an unknown structure as 1 would be
    learnt as hemorrhage without a word.
    """
    name = listed_names(labels, path).get(1)
    if name is not None and not class_value(name):
        raise InputError(
            f"{path}: expected hemorrhage or a type of it as the label 1, found {name!r}; "
            "`headct datasets prepare` makes masks of hemorrhage alone"
        )
