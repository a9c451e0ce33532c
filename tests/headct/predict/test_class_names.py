"""Names of a label map's values: those of the weights, where the metadata is of others."""

from __future__ import annotations

import pytest

from headct.predict.model.class_names import TYPES, class_names

FIVE = dict(enumerate(TYPES.values(), 1))


def metadata(**channels: str) -> dict:
    channel_def = {key.removeprefix("c"): name for key, name in channels.items()}
    return {"network_data_format": {"outputs": {"pred": {"channel_def": channel_def}}}}


LESION = metadata(c0="blood")
BOTH = metadata(c0="background", c1="hematoma")
TYPED = metadata(
    c0="background", c1="extradural", c2="brain", c3="ventricle", c4="subarachnoid", c5="subdural"
)


@pytest.mark.parametrize(
    ("stated", "channels", "names"),
    [
        (LESION, None, {1: "blood"}),
        (LESION, 1, {1: "blood"}),
        (LESION, 2, {1: "blood"}),  # background and lesion are one class too
        (LESION, 6, FIVE),
        (BOTH, 2, {1: "hematoma"}),
        (BOTH, 6, FIVE),
        (TYPED, None, {1: "extradural", 2: "brain", 3: "ventricle", 4: "subarachnoid", 5: "subdural"}),
        (TYPED, 6, {1: "extradural", 2: "brain", 3: "ventricle", 4: "subarachnoid", 5: "subdural"}),
        (TYPED, 2, {1: "hemorrhage"}),
        (TYPED, 4, {1: "class 1", 2: "class 2", 3: "class 3"}),
        ({}, None, {1: "hemorrhage"}),
    ],
)  # fmt: skip
def test_names(stated, channels, names):
    assert class_names(stated, channels) == names


def test_types_stand_in_the_order_of_their_values():
    assert FIVE[1].startswith("epidural")
    assert FIVE[5].startswith("subdural")
