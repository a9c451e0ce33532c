"""Where the brain is on a head CT: table and coil removal, and the intracranial mask.

All sizes are in millimetres and all intensities in Hounsfield units, so that the same rules hold for 1 mm
and for 5 mm slices.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import cc3d
import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from scipy import ndimage

from tools.errors import InputError

WORKING_MM = 1.0  # masks are found on a grid of about this spacing; finer detail is noise to them
AIR_HU = -1024.0


def extract_brain(
    volume: torch.Tensor, affine: torch.Tensor | np.ndarray | None = None, method: str = "rules2022"
) -> torch.Tensor:
    """Mask of the inside of the skull.

    Args:
        volume: head CT in HU, shape (1, X, Y, Z), RAS orientation.
        affine: 4x4 voxel-to-world matrix in mm; taken from `volume` if that is a MetaTensor.
        method: "rules2022", the rules of Abramova 2022: 0-100 HU, opening, largest component; above the
            slice with the largest area the largest component of each slice, below it each slice AND the next.

    Returns:
        bool mask of the volume's shape, on its device; a MetaTensor with its affine if `volume` is one.

    Raises:
        InputError: the volume has the wrong shape, is not finite, or shows no head.
    """
    image, spacing = _check(volume, affine)
    if method not in _METHODS:
        raise InputError(f"{_case(volume)}: brain method must be one of {sorted(_METHODS)}, got {method!r}")
    factor = [max(1, round(WORKING_MM / s)) for s in spacing]
    coarse = F.avg_pool3d(image[None, None], factor, ceil_mode=True, count_include_pad=False)[0, 0]
    grid = [s * f for s, f in zip(spacing, factor, strict=True)]
    mask = _METHODS[method](coarse.cpu().numpy(), grid)
    if not mask.any():
        raise InputError(f"{_case(volume)}: expected a head CT in HU, found no brain in it")
    smooth = torch.as_tensor(mask, dtype=torch.float32, device=image.device)[None, None]
    fine = F.interpolate(smooth, scale_factor=[float(f) for f in factor], mode="trilinear")[0]
    x, y, z = image.shape
    return _like(volume, fine[:, :x, :y, :z] >= 0.5)


def extract_head(volume: torch.Tensor, affine: torch.Tensor | np.ndarray | None = None) -> torch.Tensor:
    """Mask of the head without table, coil and head rest. Arguments and result as for `extract_brain`."""
    image, spacing = _check(volume, affine)
    factor = [max(1, round(2 * WORKING_MM / s)) for s in spacing]
    coarse = F.avg_pool3d(image[None, None], factor, ceil_mode=True, count_include_pad=False)[0, 0]
    head = _head(coarse.cpu().numpy(), [s * f for s, f in zip(spacing, factor, strict=True)])
    if not head.any():
        raise InputError(f"{_case(volume)}: expected a head CT in HU, found nothing denser than air")
    smooth = torch.as_tensor(head, dtype=torch.float32, device=image.device)[None, None]
    fine = F.interpolate(smooth, scale_factor=[float(f) for f in factor], mode="trilinear")[0]
    x, y, z = image.shape
    return _like(volume, fine[:, :x, :y, :z] >= 0.5)


def remove_table(volume: torch.Tensor, affine: torch.Tensor | np.ndarray | None = None) -> torch.Tensor:
    """The volume with everything outside the head (table, coil, head rest) set to air, -1024 HU."""
    head = extract_head(volume, affine)
    return _like(volume, torch.where(_plain(head), _plain(volume), AIR_HU))


class ExtractBraind(MapTransform):
    """Dictionary transform of `extract_brain`: adds `brain_key`, a uint8 mask with the image's affine."""

    def __init__(
        self,
        keys: KeysCollection = "image",
        brain_key: str = "brain",
        method: str = "rules2022",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise InputError(f"ExtractBraind makes one mask and takes one image key, got {self.keys}")
        self.brain_key = brain_key
        self.method = method

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        for key in self.key_iterator(out):
            out[self.brain_key] = extract_brain(out[key], method=self.method).to(torch.uint8)
        return out


def _rules2022(hu: np.ndarray, spacing: list[float]) -> np.ndarray:
    """Abramova 2022. Opening radius 3 mm (ours: the paper states none)."""
    soft = (hu > 0) & (hu < 100) & _head(hu, spacing)
    mask = _largest(_open(soft, spacing, radius=3.0))
    widest = int(mask.sum(axis=(0, 1)).argmax())
    for z in range(widest, mask.shape[2]):
        mask[..., z] = _largest(mask[..., z])
    for z in range(widest - 1, -1, -1):
        mask[..., z] &= mask[..., z + 1]
    for z in range(mask.shape[2]):
        mask[..., z] = ndimage.binary_fill_holes(mask[..., z])
    return _largest(mask)


def _head(hu: np.ndarray, spacing: list[float]) -> np.ndarray:
    """Largest thing denser than fat after 4 mm of opening (cuts off head rest and wires), filled."""
    head = _largest(_open(hu > -200, spacing, radius=4.0))
    for z in range(head.shape[2]):
        head[..., z] = ndimage.binary_fill_holes(head[..., z])
    return head


def _open(mask: np.ndarray, spacing: list[float], radius: float) -> np.ndarray:
    """Opening by a disc of `radius` mm in each slice: slices are too thick for a ball."""
    out = np.zeros_like(mask)
    for z in range(mask.shape[2]):
        core = ndimage.distance_transform_edt(mask[..., z], sampling=spacing[:2]) > radius
        if core.any():
            out[..., z] = ndimage.distance_transform_edt(~core, sampling=spacing[:2]) <= radius
    return out


def _largest(mask: np.ndarray) -> np.ndarray:
    """Largest connected component (faces) of a 2D or 3D mask; an empty mask stays empty."""
    if not mask.any():
        return mask
    return cc3d.largest_k(np.ascontiguousarray(mask), k=1, connectivity=6 if mask.ndim == 3 else 4) > 0


_METHODS = {"rules2022": _rules2022}


def _check(
    volume: torch.Tensor, affine: torch.Tensor | np.ndarray | None
) -> tuple[torch.Tensor, tuple[float, float, float]]:
    """The plain float32 image (X, Y, Z) and its spacing in mm, or InputError."""
    if volume.ndim != 4 or volume.shape[0] != 1 or min(volume.shape[1:3]) < 16:
        raise InputError(
            f"{_case(volume)}: expected a head CT of shape (1, X, Y, Z), found {tuple(volume.shape)}"
        )
    matrix = affine if affine is not None else getattr(volume, "affine", None)
    if matrix is None:
        raise InputError(f"{_case(volume)}: expected an affine in mm, found none: give one or a MetaTensor")
    matrix = torch.as_tensor(matrix, dtype=torch.float64).cpu()
    spacing = tuple(float(s) for s in matrix[:3, :3].norm(dim=0))
    if not all(0.05 < s < 50 for s in spacing):
        raise InputError(f"{_case(volume)}: expected an affine in mm, found voxels of {spacing}")
    image = _plain(volume)[0].float()
    if not torch.isfinite(image).all():
        raise InputError(f"{_case(volume)}: expected finite HU, found NaN or infinite values")
    return image, spacing


def _plain(volume: torch.Tensor) -> torch.Tensor:
    return volume.as_tensor() if isinstance(volume, MetaTensor) else volume


def _like(volume: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
    """`result` with the affine and metadata of `volume`, if that has any."""
    if not isinstance(volume, MetaTensor):
        return result
    return MetaTensor(result).copy_meta_from(volume)


def _case(volume: torch.Tensor) -> str:
    """Name of the case for messages: its file if known."""
    name = volume.meta.get("filename_or_obj") if isinstance(volume, MetaTensor) else None
    return str(name) if name else "volume"
