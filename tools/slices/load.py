"""2D methods see every image as a volume: a picture, or one slice of a volume, is a volume of one slice."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from tools.core.errors import InputError
from tools.core.files import existing, input_files, is_dicom
from tools.core.names import is_picture, is_volume
from tools.core.windows import CT_ICH_WINDOW
from tools.data.datalist import inference_cases, named
from tools.slices.read import read_slice, read_slice_mask
from tools.volumes.read import LoadVolumed


def slice_cases(path: str | Path) -> list[dict[str, Any]]:
    """What there is to segment at `path`, as datalist entries without label.

    A picture (JPEG, PNG), every picture of a folder and its subfolders, or else what
    `tools.data.datalist.inference_cases` finds. `case` names the result, with the picture's folders.

    Raises:
        InputError: there is nothing of the kind; a folder holds pictures and volumes, or a link to nothing;
            two pictures whose results would have the same name.
    """
    path = Path(path)
    if path.is_file() and is_picture(path):
        return named([path], path.parent)
    files = existing(input_files(path)) if path.is_dir() else []
    pictures = [file for file in files if is_picture(file)]
    if not pictures:
        return inference_cases(path)
    scan = next((file for file in files if is_volume(file) or is_dicom(file)), None)
    if scan is not None:
        raise InputError(f"{path}: expected pictures or volumes, found both: {pictures[0]} and {scan}")
    return named(pictures, path)


class LoadSlicesd(MapTransform):
    """Load pictures, single slices and whole volumes alike, in the orientation of the files.

    A picture becomes a volume (1, X, Y, 1) in HU (see `read_slice`); so does the slice number `slice` of a
    volume, where the datalist entry has that key; any other entry is read by `LoadVolumed`.

    Args:
        keys: CT images and labels.
        label_keys: which of the keys are labels.
        picture_window: level and width in HU of pictures whose datalist entry has no key `windowed`.
        converted_dir: see `read_volume`.
        allow_missing_keys: don't raise where a key is absent.

    Raises:
        InputError: see `read_slice` and `read_volume`; and if image and label differ in size.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_keys: Sequence[str] = (),
        picture_window: Sequence[float] = CT_ICH_WINDOW,
        converted_dir: str | Path | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_keys = tuple(label_keys)
        self.picture_window = tuple(picture_window)
        self.volumes = LoadVolumed(keys, label_keys, converted_dir, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        keys = [key for key in self.key_iterator(d) if not isinstance(d[key], torch.Tensor)]
        single = [key for key in keys if is_picture(d[key]) or d.get("slice") is not None]
        if not single:
            return self.volumes(d)
        for key in keys:
            d[key] = self._slice(d, key, single)
        sizes = {key: tuple(d[key].shape[1:3]) for key in keys}
        first = keys[0]
        for key, size in sizes.items():
            if size != sizes[first]:
                raise InputError(
                    f"{data[key]}: expected the size {sizes[first]} of {data[first]}, found {size}"
                )
        return d

    def _slice(self, d: Mapping[Hashable, Any], key: Hashable, single: Sequence[Hashable]) -> MetaTensor:
        path, border = d[key], d.get("border")
        if key not in single:
            raise InputError(f"{path}: expected a picture like {d[single[0]]}, found a volume")
        number = None if is_picture(path) else int(d["slice"])
        if key in self.label_keys:
            pixels = read_slice_mask(path, number, border)
        else:
            pixels = read_slice(path, number, d.get("windowed") or self.picture_window, border)
        meta = {**pixels.meta, "spatial_shape": np.array([*pixels.shape[1:], 1])}
        meta["original_affine"] = pixels.affine.numpy().copy()
        return MetaTensor(pixels.as_tensor()[..., None], meta=meta)
