"""2D methods see every image as a volume: a picture, or one slice of a volume, is a volume of one slice."""

from __future__ import annotations

import io
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, SaveImaged
from PIL import Image

from tools.datalist import inference_cases
from tools.errors import InputError
from tools.files import nifti_bytes, write_bytes
from tools.metrics.report import case_name
from tools.pictures import BRAIN_WINDOW, PICTURES, read_slice, read_slice_mask
from tools.volume_io import LoadVolumed

__all__ = ["LoadSlicesd", "SaveMaskd", "is_picture", "slice_cases"]


def is_picture(path: str | Path) -> bool:
    """True for the names of JPEG and PNG files."""
    return str(path).lower().endswith(PICTURES)


def slice_cases(path: str | Path) -> list[dict[str, Any]]:
    """What there is to segment at `path`, as datalist entries without label.

    A picture (JPEG, PNG), every picture of a folder, or else what `tools.volume_io.find_volumes` finds.

    Raises:
        InputError: there is nothing of the kind; a folder holds pictures and volumes; two pictures whose
            results would have the same name.
    """
    path = Path(path)
    if path.is_file() and is_picture(path):
        return [{"image": str(path)}]
    pictures = sorted(file for file in path.iterdir() if is_picture(file)) if path.is_dir() else []
    if not pictures:
        return inference_cases(path)
    if any(file.name.endswith((".nii", ".nii.gz")) for file in path.iterdir()):
        raise InputError(f"{path}: expected pictures or volumes, found both")
    twins = {file.stem: file for file in pictures}
    for file in pictures:
        if twins[file.stem] != file:
            raise InputError(
                f"{file}: expected another name than {twins[file.stem].name}, found the same stem, by which "
                "the results are named"
            )
    return [{"image": str(file)} for file in pictures]


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
        picture_window: Sequence[float] = BRAIN_WINDOW,
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
            raise InputError(f"{path}: expected a picture like {d[single[0]]}, found another kind of file")
        number = None if is_picture(path) else int(d["slice"])
        if key in self.label_keys:
            pixels = read_slice_mask(path, number, border)
        else:
            pixels = read_slice(path, number, d.get("windowed") or self.picture_window, border)
        meta = {**pixels.meta, "spatial_shape": np.array([*pixels.shape[1:], 1])}
        meta["original_affine"] = pixels.affine.numpy().copy()
        return MetaTensor(pixels.as_tensor()[..., None], meta=meta)


class SaveMaskd(SaveImaged):
    """Write label maps in the geometry of their file: NIfTI, and of pictures pictures.

    The mask of a JPEG or PNG is a PNG of the same size, 255 on 0; a border that was cut off when the picture
    was read is put on again. Single slices are named by the entry `case`, if there is one, since their files
    often are called the same in the folder of every patient.

    It takes the place of MONAI's `SaveImaged`, which drops the last axis, and with it the affine, of a volume
    of one slice; and is one, so that MONAI Label removes it from the postprocessing.

    Args:
        keys: label maps (1, X, Y, Z) in the geometry of the file, after `Invertd`.
        output_dir, output_postfix: the file is `<output_dir>/<name>_<output_postfix>`, .png or .nii.gz.
        output_dtype: of NIfTI files.
        pictures: False writes NIfTI files for pictures too, as probabilities need.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        output_postfix: str = "seg",
        output_dtype: torch.dtype = torch.uint8,
        pictures: bool = True,
    ) -> None:
        super().__init__(keys, output_dir=output_dir, output_postfix=output_postfix)
        self.folder, self.postfix = Path(output_dir), output_postfix
        self.dtype, self.pictures = output_dtype, pictures

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            mask = d[key]
            source = Path(mask.meta["filename_or_obj"])
            single = is_picture(source) or d.get("slice") is not None
            name = (d.get("case") if single else None) or case_name(source)
            if self.pictures and is_picture(source):
                write_bytes(self.folder / f"{name}_{self.postfix}.png", _png(mask, source))
            else:
                array = mask.as_tensor()[0].to(self.dtype).cpu().numpy()
                content = nifti_bytes(array, mask.affine.cpu().numpy())
                write_bytes(self.folder / f"{name}_{self.postfix}.nii.gz", content)
        return d


def _png(mask: MetaTensor, source: Path) -> bytes:
    """The mask (1, X, Y, 1) as a PNG of the size of `source`; the inverse of how pictures are read."""
    with Image.open(source) as picture:
        columns, rows = picture.size
    white = (mask.as_tensor()[0, :, :, 0].cpu().numpy().T[::-1, ::-1] > 0).astype(np.uint8) * 255
    borders = {(rows - white.shape[0]) // 2, (columns - white.shape[1]) // 2}
    if len(borders) != 1 or min(borders) < 0:
        raise InputError(f"{source}: expected a mask of its size {(rows, columns)}, found {white.shape}")
    buffer = io.BytesIO()
    Image.fromarray(np.pad(white, borders.pop())).save(buffer, format="PNG")
    return buffer.getvalue()
