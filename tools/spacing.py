"""Resampling to a fixed voxel size, safe for the metadata that MONAI Label adds."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import Spacingd

__all__ = ["ResampleSpacingd"]


class ResampleSpacingd(Spacingd):
    """MONAI's `Spacingd` with an off switch, and without its trap.

    MONAI 1.6 calls `.update` on every entry whose key starts with `image_` or `label_`; MONAI Label adds the
    string `image_path` to every request. Entries of that kind that are no dictionaries are put aside here
    during the call.

    Args:
        keys: images and labels, (C, X, Y, Z) MetaTensors.
        pixdim: voxel size in mm to resample to; None leaves all as they are.
        mode: interpolation for each key.
        allow_missing_keys: don't raise where a key is absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        pixdim: Sequence[float] | None,
        mode: str | Sequence[str] = "bilinear",
        allow_missing_keys: bool = False,
    ) -> None:
        self.off = pixdim is None
        super().__init__(keys, pixdim or (1.0, 1.0, 1.0), mode=mode, allow_missing_keys=allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        d = dict(data)
        if self.off:
            return d
        prefixes = tuple(f"{key}_" for key in self.keys)
        aside = {
            key: d.pop(key)
            for key in list(d)
            if isinstance(key, str) and key.startswith(prefixes) and not isinstance(d[key], dict)
        }
        return {**super().__call__(d, lazy), **aside}

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        return dict(data) if self.off else super().inverse(data)
