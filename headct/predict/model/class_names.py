"""What the values of a bundle's label map are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.core.classes import CLASS_VALUES

__all__ = ["class_names"]

TYPES = {
    "edh": "epidural hemorrhage",
    "iph": "intraparenchymal hemorrhage",
    "ivh": "intraventricular hemorrhage",
    "sah": "subarachnoid hemorrhage",
    "sdh": "subdural hemorrhage",
}


def class_names(metadata: Mapping[str, Any], channels: int | None = None) -> dict[int, str]:
    """Names by value, as the bundle's `metadata.json` states them of its own weights.

    Weights of another kind of training, such as by the overlay `types`, have other values than the metadata
    says: five are the types in their usual order, one is any hemorrhage.

    Args:
        metadata: content of `metadata.json`.
        channels: outputs of the network that was trained, background included where there are several; None
            if that is not known.
    """
    outputs = metadata.get("network_data_format", {}).get("outputs", {})
    first: dict[str, Any] = next(iter(outputs.values()), {})
    stated = {int(key): str(name) for key, name in first.get("channel_def", {}).items()}
    if list(stated) == [0]:  # one channel is one class, 1
        names = {1: stated[0]}
    else:
        names = {key: name for key, name in stated.items() if key > 0} or {1: "hemorrhage"}
    values = len(names) if channels is None else max(1, channels - 1)
    if values == len(names):
        return names
    if values == len(CLASS_VALUES):
        return {value: TYPES[kind] for kind, value in CLASS_VALUES.items()}
    return {1: "hemorrhage"} if values == 1 else {value: f"class {value}" for value in range(1, values + 1)}
