"""A NIfTI file or a folder of DICOM files -> one checked CT volume in Hounsfield units, with its geometry."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Orientation

from tools.dicom import convert_series, list_series
from tools.errors import InputError

__all__ = ["LoadVolumed", "find_volumes", "is_nifti", "read_label", "read_volume"]

PADDING_HU = -1024.0  # air at the edge of the scale; scanners pad with lower values
HIGHEST_AIR_HU = -200.0  # every head CT shows air somewhere, and air is darker than this
LOWEST_BONE_HU = 200.0  # and bone, which is brighter than this
HIGHEST_HU = 40000.0  # extended scales reach 30,000 HU on metal


def is_nifti(path: str | Path) -> bool:
    """True for names that end in .nii or .nii.gz."""
    return str(path).endswith((".nii", ".nii.gz"))


def read_volume(
    path: str | Path,
    series: str | int | None = None,
    orientation: str | None = "RAS",
    converted_dir: str | Path | None = None,
    name: str | Path | None = None,
) -> MetaTensor:
    """Read one CT volume.

    Args:
        path: a NIfTI file, or a folder with the DICOM files of one or more series. DICOM is converted by
            dcm2niix; gantry tilt is undone and slice distances are evened out.
        series: number or UID of the DICOM series, where the folder holds several.
        orientation: axis codes to reorient the array to; None keeps the order of the file.
        converted_dir: folder to keep the converted NIfTI file of a DICOM series in, named `<folder>.nii.gz`,
            so that a viewer can show results over it.
        name: what messages call a NIfTI file that stands for something else; None takes its path.

    Returns:
        MetaTensor (1, X, Y, Z), float32, HU, values below -1024 raised to -1024. Its affine maps voxels to
        RAS+ mm; `meta["original_affine"]` is the affine of the file.

    Raises:
        InputError: the path does not exist or is no CT volume: an empty folder, several series and no
            choice, a modality other than CT, fewer or more than three dimensions, no or a singular affine,
            values that are NaN, infinite or no HU, a truncated file.
    """
    path = Path(path)
    if path.is_dir():
        with convert_series(path, series) as nifti:
            volume = _checked_volume(nifti, name=path)
            if converted_dir is not None:
                _keep_gzipped(nifti, Path(converted_dir) / f"{path.resolve().name}.nii.gz")
    else:
        volume = _checked_volume(path, name=path if name is None else Path(name))
    return _oriented(volume, orientation)


def read_label(path: str | Path, orientation: str | None = "RAS") -> MetaTensor:
    """Read one label map.

    Args:
        path: a NIfTI file of whole, non-negative numbers.
        orientation: axis codes to reorient the array to; None keeps the order of the file.

    Returns:
        MetaTensor (1, X, Y, Z), float32 whole numbers, with the file's geometry.

    Raises:
        InputError: as for `read_volume`, and for values that are no whole, non-negative numbers.
    """
    label = _load(Path(path), name=Path(path))
    if (label < 0).any() or (label != label.round()).any():
        raise InputError(f"{path}: expected whole, non-negative class values, found {_range(label)}")
    return _oriented(label, orientation)


def find_volumes(path: str | Path) -> list[Path]:
    """The CT volumes at `path`: a NIfTI file, every NIfTI file of a folder, or its folders of DICOM files.

    Raises:
        InputError: the path does not exist or holds neither NIfTI nor DICOM files.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: expected a NIfTI file or a folder, found nothing there")
    if path.is_file():
        return [path]
    volumes = sorted(file for file in path.iterdir() if is_nifti(file))
    if volumes:
        return volumes
    folders = {file.parent for series in list_series(path) for file in series.files}
    return [path] if path in folders else sorted(folders)


class LoadVolumed(MapTransform):
    """Dictionary version of `read_volume` and `read_label`, in the orientation of the files.

    Entries that are MetaTensors already (MONAI Label passes some) are left as they are.

    Args:
        keys: keys of the CT volumes: paths.
        label_keys: those of `keys` that hold label maps.
        converted_dir: see `read_volume`.
        allow_missing_keys: don't raise where a key is absent.

    Raises:
        InputError: see `read_volume`; also where a label's shape or affine differs from the first volume's.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_keys: Sequence[Hashable] = (),
        converted_dir: str | Path | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_keys = set(label_keys)
        self.converted_dir = converted_dir

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        first: MetaTensor | None = None
        for key in self.key_iterator(d):
            if not isinstance(d[key], torch.Tensor):
                if key in self.label_keys:
                    d[key] = read_label(d[key], orientation=None)
                else:
                    d[key] = read_volume(d[key], orientation=None, converted_dir=self.converted_dir)
            first = d[key] if first is None else first
            _check_same_grid(first, d[key])
        return d


def _load(path: Path, name: Path) -> MetaTensor:
    """Read a NIfTI file of three dimensions as float32 and check what holds for images and labels alike."""
    if not path.exists():
        raise InputError(f"{name}: expected a NIfTI file or a folder of DICOM files, found nothing there")
    if not is_nifti(path):
        raise InputError(f"{name}: expected a NIfTI file (.nii, .nii.gz) or a folder of DICOM files")
    try:
        image = nib.load(path)
        header: Any = image.header
        if image.get_data_dtype().fields:
            raise InputError(
                f"{name}: expected one value per voxel, found colours ({image.get_data_dtype()})"
            )
        if image.get_data_dtype().kind == "c":
            raise InputError(f"{name}: expected real values, found complex ones ({image.get_data_dtype()})")
        data = np.asarray(image.dataobj, dtype=np.float32)
    except InputError:
        raise
    except Exception as error:  # nibabel, gzip and zlib each raise their own on damaged files
        raise InputError(f"{name}: expected a complete NIfTI file, found: {error}") from error
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim != 3 or min(data.shape) < 2:
        raise InputError(f"{name}: expected a 3D volume of several slices, found shape {data.shape}")
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise InputError(f"{name}: expected an affine (sform or qform), found none")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise InputError(f"{name}: expected an invertible affine, found {affine.tolist()}")
    if not np.isfinite(data).all():
        bad = int((~np.isfinite(data)).sum())
        raise InputError(f"{name}: expected finite values, found {bad} voxels that are NaN or infinite")
    meta = {
        "filename_or_obj": str(name),
        "original_affine": affine.copy(),
        "spatial_shape": np.array(data.shape),
    }
    return MetaTensor(torch.from_numpy(data)[None], affine=torch.from_numpy(affine), meta=meta)


def _checked_volume(path: Path, name: Path) -> MetaTensor:
    """`_load`, and the checks that make its values HU."""
    volume = _load(path, name)
    low, high = volume.min().item(), volume.max().item()
    if low > HIGHEST_AIR_HU or high < LOWEST_BONE_HU or high > HIGHEST_HU:
        raise InputError(
            f"{name}: expected Hounsfield units with air (below {HIGHEST_AIR_HU:.0f}) and bone (above "
            f"{LOWEST_BONE_HU:.0f}), found values {_range(volume)}: windowed, rescaled or no CT"
        )
    return volume.clamp_(min=PADDING_HU)


def _range(volume: torch.Tensor) -> str:
    return f"from {volume.min().item():g} to {volume.max().item():g}"


def _oriented(volume: MetaTensor, orientation: str | None) -> MetaTensor:
    return volume if orientation is None else Orientation(axcodes=orientation, labels=None)(volume)


def _check_same_grid(reference: MetaTensor, other: MetaTensor) -> None:
    name, expected = other.meta.get("filename_or_obj"), reference.meta.get("filename_or_obj")
    if reference.shape[1:] != other.shape[1:]:
        raise InputError(
            f"{name}: expected the shape {tuple(reference.shape[1:])} of {expected}, "
            f"found {tuple(other.shape[1:])}"
        )
    if not torch.allclose(reference.affine, other.affine, atol=1e-3):
        raise InputError(
            f"{name}: expected the affine of {expected}, {reference.affine.tolist()}, "
            f"found {other.affine.tolist()}"
        )


def _keep_gzipped(source: Path, target: Path) -> None:
    """Write `source` gzipped to `target`, atomically."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    with source.open("rb") as reader, gzip.GzipFile(partial, "wb", compresslevel=3, mtime=0) as writer:
        shutil.copyfileobj(reader, writer)
    os.replace(partial, target)
