"""One slice, of an 8-bit picture in a display window or of a NIfTI volume -> MetaTensor (1, X, Y) in HU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from PIL import ExifTags, Image

from tools.core.errors import InputError
from tools.core.limits import check_file
from tools.core.names import is_nifti
from tools.core.windows import CT_ICH_WINDOW, DisplayWindow
from tools.volumes.grid import whole_values
from tools.volumes.read import open_nifti

CT_ICH_SIZE, CT_ICH_BORDER = 650, 5  # px; the border shows nothing and is removed (Hssayeni 2020, 4)
CT_ICH_PIXEL_MM, CT_ICH_SLICE_MM = 0.33, 5.0  # of its scanner; the pictures themselves tell no size
MASK_THRESHOLD = 128  # masks are JPEG as well: white and black with noise around the edges

Grey = TypeVar("Grey", torch.Tensor, np.ndarray)


def window_to_hu(grey: Grey, window: Sequence[float] = CT_ICH_WINDOW) -> Grey:
    """Grey values 0-255 of a display window -> HU.

    0 stands for everything up to the window's lower end, 255 for everything from its upper end.

    Args:
        grey: grey values, any shape; integers become float32.
        window: level and width in HU; (40, 120) gives -20..100 HU.
    """
    low, high = DisplayWindow(*window).hu
    if isinstance(grey, torch.Tensor):
        grey = grey if grey.is_floating_point() else grey.float()
    elif not np.issubdtype(grey.dtype, np.floating):
        grey = grey.astype(np.float32)
    return grey * ((high - low) / 255.0) + low


def read_slice(
    path: str | Path,
    number: int | None = None,
    window: Sequence[float] = CT_ICH_WINDOW,
    border: int | None = None,
    pixel_mm: float = CT_ICH_PIXEL_MM,
) -> MetaTensor:
    """Read one axial slice.

    Args:
        path: an 8-bit picture (JPEG, PNG) front up, the patient's right at the left, or a NIfTI volume.
        number: slice of the volume, from 1 in the order of the file; for pictures None.
        window: level and width in HU of the picture.
        border: pixels to remove at each side of the picture; None removes the 5 of CT-ICH's 650 x 650.
        pixel_mm: pixel size of the picture in mm; the default is the one stated for CT-ICH.

    Returns:
        MetaTensor (1, X, Y), float32 HU, X to the right and Y to the front as in RAS volumes. Its 4x4 affine
        maps pixels to mm; `meta["windowed"]` is the window of a picture.

    Raises:
        InputError: a missing or damaged file, a picture that is not 8-bit grey or smaller than its border,
            a slice number that the volume has not.
    """
    path = Path(path)
    if is_nifti(path):
        return _volume_slice(path, number)
    grey = read_grey(path)
    picture = _as_ras(_without_border(path, grey, border), pixel_mm, path)
    image: Any = window_to_hu(picture, window)
    image.meta["windowed"] = [float(value) for value in window]
    return image


def read_slice_mask(path: str | Path, number: int | None = None, border: int | None = None) -> MetaTensor:
    """Read the mask of one axial slice.

    Args:
        path: an 8-bit picture, white (from 128) on black, or a NIfTI label map.
        number, border: see `read_slice`.

    Returns:
        MetaTensor (1, X, Y), float32: 0 and 1 for pictures, class values for label maps.

    Raises:
        InputError: see `read_slice`.
    """
    path = Path(path)
    if is_nifti(path):
        stored = _volume_slice(path, number)
        values, fault = whole_values(stored.numpy())
        if fault:
            raise InputError(f"{path}: {fault}")
        return MetaTensor(torch.from_numpy(values), meta=stored.meta)
    mask = (_without_border(path, read_grey(path), border) >= MASK_THRESHOLD).astype(np.uint8)
    return _as_ras(mask, CT_ICH_PIXEL_MM, path)


def read_grey(path: Path) -> np.ndarray:
    """Grey values (rows, columns) uint8 of a picture.

    Raises:
        InputError: a missing or damaged file; colours, or other than 8 bits.
    """
    check_file(path)
    try:
        with Image.open(path) as picture:
            mode = picture.mode
            turned = picture.getexif().get(ExifTags.Base.Orientation, 1)
            plain = {"RGBA": "RGB", "P": "RGB", "1": "L"}.get(mode)
            grey = np.asarray(picture.convert(plain) if plain else picture)
    except FileNotFoundError:
        raise InputError(f"{path}: expected a picture (JPEG, PNG), found no such file") from None
    except Exception as error:  # Pillow raises whatever the decoder of the format raises
        raise InputError(f"{path}: expected a complete picture (JPEG, PNG), found: {error}") from error
    if turned not in (0, 1):  # a mask of its pixels would not lie on what viewers show
        raise InputError(
            f"{path}: expected a picture whose pixels lie as they are shown, found one that viewers turn or "
            f"mirror (EXIF orientation {turned}): save it upright"
        )
    if grey.ndim == 3 and grey.dtype == np.uint8 and (grey == grey[..., :1]).all():
        grey = grey[..., 0]  # grey stored as RGB
    if grey.ndim != 2 or grey.dtype != np.uint8:
        raise InputError(f"{path}: expected an 8-bit grey picture, found mode {mode}")
    return grey


def _without_border(path: Path, grey: np.ndarray, border: int | None) -> np.ndarray:
    if border is None:
        border = CT_ICH_BORDER if grey.shape == (CT_ICH_SIZE, CT_ICH_SIZE) else 0
    if min(grey.shape) <= 2 * border:
        raise InputError(f"{path}: expected more than {2 * border} pixels a side, found {grey.shape}")
    return grey[border : grey.shape[0] - border, border : grey.shape[1] - border]


def _as_ras(grey: np.ndarray, pixel_mm: float, path: Path) -> MetaTensor:
    """Rows from the front, columns from the patient's right -> (1, X, Y)."""
    pixels = torch.from_numpy(np.ascontiguousarray(grey[::-1, ::-1].T)).float()
    affine = torch.diag(torch.tensor([pixel_mm, pixel_mm, CT_ICH_SLICE_MM, 1.0], dtype=torch.float64))
    meta = {"filename_or_obj": str(path), "spatial_shape": np.array(pixels.shape)}
    return MetaTensor(pixels[None], affine=affine, meta=meta)


def _volume_slice(path: Path, number: int | None) -> MetaTensor:
    """One slice of a volume, without reading the others where the file is not compressed."""
    try:
        volume = open_nifti(path)
        axis = int(np.flatnonzero(nib.io_orientation(volume.affine)[:, 0] == 2)[0])
        count = volume.shape[axis]
        if number is None or not 1 <= number <= count:
            raise InputError(f"{path}: expected a slice number from 1 to {count}, found {number}")
        cut = tuple(slice(number - 1, number) if a == axis else slice(None) for a in range(3))
        image = nib.as_closest_canonical(volume.slicer[cut])
        pixels = torch.from_numpy(np.asarray(image.dataobj, dtype=np.float32)[..., 0])
    except InputError:
        raise
    except Exception as error:  # nibabel, gzip and zlib each raise their own on damaged files
        raise InputError(f"{path}: expected a complete 3D NIfTI file, found: {error}") from error
    meta = {"filename_or_obj": str(path), "spatial_shape": np.array(pixels.shape)}
    return MetaTensor(pixels[None], affine=torch.from_numpy(image.affine), meta=meta)
