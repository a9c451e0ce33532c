"""A mask as data sets hand it over -> our class values on the grid of its image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to

from headct.datasets.collection import Collection
from tools.core.classes import CLASS_VALUES, UNKNOWN_VALUE
from tools.core.errors import InputError
from tools.core.names import is_nifti
from tools.core.tensors import voxel_ml
from tools.volumes.grid import grid_fault, reordered, whole_values
from tools.volumes.read import load_volume, open_nifti

MISMATCHES = ("error", "warn", "resample")
"""What to do with a mask on another grid than its image: refuse it, take it voxel by voxel, resample it."""


@dataclass
class Mask:
    """A mask on the grid of its image.

    Attributes:
        values: our class values, uint8 (X, Y, Z), in the voxel order of the image.
        affine: the image's.
        stored: values as the file has them; None where it differs from them in order, grid or rounding.
    """

    values: np.ndarray
    affine: np.ndarray
    stored: np.ndarray | None

    def is_file(self, values: np.ndarray) -> bool:
        """Whether the mask's file holds just these values, so that none has to be written."""
        return self.stored is not None and np.array_equal(self.stored, values)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in mL."""
        return voxel_ml(self.affine)


def read_values(path: Path, picture: bool = True) -> tuple[np.ndarray, np.ndarray, bool]:
    """Whole values (X, Y, Z) float32 of a mask as stored, its affine, and whether the file differs.

    `picture`: see `tools.volumes.grid.whole_values`.

    Raises:
        InputError: no such file, a damaged one, other than three dimensions, values that are no classes.
    """
    volume = load_volume(path, path)
    raw = volume.numpy()[0]
    values, fault = whole_values(raw, picture)
    if fault:
        raise InputError(f"{path}: {fault}")
    as_stored = is_nifti(path) and len(open_nifti(path).shape) == 3 and np.array_equal(values, raw)
    return values, volume.affine.numpy(), not as_stored


def resampled(array: np.ndarray, affine: np.ndarray, shape: Sequence[int], like: np.ndarray) -> np.ndarray:
    """A label map (X, Y, Z) on the grid of `shape` and affine `like`: the nearest voxel's value, else 0."""
    source = nib.Nifti1Image(np.asarray(array, np.uint8), affine)
    result = resample_from_to(source, (tuple(shape), like), order=0)
    return np.asarray(result.dataobj, np.uint8)


def _grid(image: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape (X, Y, Z) and affine of a volume."""
    if is_nifti(image):
        header = open_nifti(image)
        return tuple(header.shape[:3]), np.asarray(header.affine, np.float64)
    volume = load_volume(image, image)
    return tuple(volume.shape[1:]), volume.affine.numpy()


def read_mask(
    collection: Collection,
    path: Path,
    image: Path,
    on_mismatch: str = "error",
    classes: Mapping[int, int] | None = None,
) -> Mask:
    """A mask in our class values, on the grid of its image.

    Args:
        collection: is told of what had to be done against a mismatch.
        path: the mask.
        image: the CT volume it belongs to.
        on_mismatch: one of `MISMATCHES`. Voxels in another order are no mismatch.
        classes: our class value of each of the mask's; None takes them as they are.

    Raises:
        InputError: see `read_values`; another grid; values that `classes` does not have.
    """
    values, affine, changed = read_values(path, picture=UNKNOWN_VALUE not in (classes or ()))
    shape, like = _grid(image)
    turned, turned_affine = reordered(values, affine, like)
    fault = grid_fault(shape, like, turned.shape, turned_affine, of=image)
    if not fault:
        changed |= not np.allclose(affine, turned_affine)
        values = turned
    elif on_mismatch == "resample":
        before = _ml(values, affine)
        values = resampled(values.astype(np.uint8), affine, shape, like)
        after = _ml(values, like)
        if before and not after:
            raise InputError(f"{path}: {fault}; nothing of the mask lies within the image")
        collection.find("mismatch", f"{path.name}: resampled, {before:.2f} mL became {after:.2f} mL: {fault}")
        changed = True
    elif on_mismatch == "warn" and values.shape == shape:
        collection.find("mismatch", f"{path.name}: taken voxel by voxel, although: {fault}")
        changed = True
    else:
        ways = "resample" if values.shape != shape else "warn takes it voxel by voxel, resample"
        raise InputError(f"{path}: {fault} (--on-mismatch {ways} moves it onto the image's grid)")
    mask = np.ascontiguousarray(values.astype(np.uint8))
    stored = None if changed else mask
    return Mask(mask if classes is None else _renamed(path, mask, classes), like, stored)


def merged(masks: Sequence[Mask], names: Sequence[object]) -> Mask:
    """Masks of one image, each of another type, as one; a voxel of two types is of unknown type.

    Raises:
        InputError: two masks of the same kind of hemorrhage, which are two opinions.
    """
    kinds: dict[int, object] = {}
    values = np.zeros_like(masks[0].values)
    for mask, name in zip(masks, names, strict=True):
        for kind in np.unique(mask.values[mask.values > 0]).tolist():
            if kind in kinds:
                raise InputError(
                    f"{name}: expected another type than in {kinds[kind]}, found the same (--rater)"
                )
            kinds[kind] = name
        values = _joined(values, mask.values)
    return Mask(values, masks[0].affine, masks[0].stored if len(masks) == 1 else None)


def _joined(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """What two class maps say together: a known type before hemorrhage of unknown type."""
    either = np.where(one == 0, other, one)
    both = (one > 0) & (other > 0) & (one != other)
    type_of_both = np.where(one == UNKNOWN_VALUE, other, np.where(other == UNKNOWN_VALUE, one, UNKNOWN_VALUE))
    return np.where(both, type_of_both, either).astype(np.uint8)


def consensus(masks: Sequence[Mask]) -> Mask:
    """What more than half of the raters outlined, of the type that most gave it; 255 where types tie."""
    stack = np.stack([mask.values for mask in masks])
    agreed = (stack > 0).sum(0) * 2 > len(masks)
    kinds = np.array([*CLASS_VALUES.values(), UNKNOWN_VALUE], np.uint8)
    votes = np.stack([(stack == kind).sum(0) for kind in kinds])
    first = votes.max(0)
    tied = (votes == first).sum(0) > 1
    values = np.where(tied, UNKNOWN_VALUE, kinds[votes.argmax(0)])
    return Mask(np.where(agreed, values, 0).astype(np.uint8), masks[0].affine, None)


def _renamed(path: Path, mask: np.ndarray, classes: Mapping[int, int]) -> np.ndarray:
    """The mask in our class values."""
    found = np.unique(mask).tolist()
    if not set(found) <= {0, *classes}:
        odd = sorted(set(found) - {0, *classes})
        raise InputError(
            f"{path}: expected mask values {sorted(classes)}, found {found} (--labels {odd[0]}=NAME says "
            "what it is)"
        )
    return np.array([classes.get(value, 0) for value in range(256)], np.uint8)[mask]


def _ml(values: np.ndarray, affine: np.ndarray) -> float:
    return float((values > 0).sum()) * voxel_ml(affine)
