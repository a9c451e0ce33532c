"""Small things done to tensors everywhere: metadata taken off and put on, checks, masks, boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor
from torch.nn.functional import avg_pool3d

from tools.core.errors import InputError

SLAB = 32  # slices that are copied at a time


def plain(x: Any) -> Tensor:
    """The tensor or array as a tensor without metadata, whose upkeep costs more than small operations do."""
    x = torch.as_tensor(x)
    return x.as_tensor() if isinstance(x, MetaTensor) else x


def with_metadata_of(source: Tensor, result: Tensor) -> Tensor:
    """`result` with affine, metadata and applied transforms of `source`, if that is a MetaTensor."""
    return MetaTensor(result).copy_meta_from(source) if isinstance(source, MetaTensor) else result


def file_name(volume: Any, otherwise: str) -> str:
    """What messages call a volume: the file that a MetaTensor came from."""
    return str((getattr(volume, "meta", None) or {}).get("filename_or_obj") or otherwise)


def affine_of(volume: Any, affine: Tensor | np.ndarray | None, name: str) -> Tensor:
    """The affine that is given, or that of a MetaTensor; float64 on its device.

    Raises:
        InputError: there is neither.
    """
    affine = getattr(volume, "affine", None) if affine is None else affine
    if affine is None:
        raise InputError(f"{name}: expected an affine in mm, found none: give one or a MetaTensor")
    return torch.as_tensor(affine, dtype=torch.float64).to(volume.device)


def head_image(volume: Tensor, name: str) -> Tensor:
    """A head CT (1, X, Y, Z) in HU as a plain float32 image (X, Y, Z).

    Raises:
        InputError: the shape is another, or values are NaN or infinite.
    """
    if volume.ndim != 4 or volume.shape[0] != 1:
        raise InputError(f"{name}: expected a head CT of shape (1, X, Y, Z), found {tuple(volume.shape)}")
    image = plain(volume)[0].float()
    if not torch.isfinite(image.sum()):  # NaN and infinite values stay in a sum, which takes no memory
        raise InputError(f"{name}: expected finite HU, found NaN or infinite values")
    return image


def finite(probabilities: Tensor) -> Tensor:
    """The probabilities that a network gave, unless they are none.

    Raises:
        InputError: some are NaN or infinite: then nothing can be said, least of all "no hemorrhage".
    """
    if not torch.isfinite(probabilities).all():
        raise InputError(
            "expected finite probabilities from the network, found NaN or infinite ones: its weights are "
            "damaged, or the scan is"
        )
    return probabilities


def as_mask(x: Any) -> Tensor:
    """What is not zero, as plain bool tensor; bool stays as it is (comparing it is slow)."""
    x = plain(x)
    return x if x.dtype == torch.bool else x != 0


def voxel_spacing(affine: Tensor) -> tuple[float, float, float]:
    """Voxel size in mm along each axis of a volume with the 4x4 `affine`."""
    x, y, z = torch.linalg.norm(torch.as_tensor(affine, dtype=torch.float64)[:3, :3], dim=0).tolist()
    return x, y, z


def block_means(volume: Tensor, factor: Sequence[int], rest: bool = False) -> Tensor:
    """Means over blocks of `factor` voxels of a volume (X, Y, Z) float32, some slices at a time.

    `avg_pool3d` makes a copy of a volume whose axes lie in another order in memory, as most files' do. With
    `rest`, blocks at the far edges that are not full are kept, as means of what they have.
    """
    depth = factor[2] * max(1, SLAB // factor[2])
    count = volume.shape[2] if rest else volume.shape[2] // factor[2] * factor[2]
    means = []
    for slab in volume[..., :count].split(depth, -1):
        block = (factor[0], factor[1], min(factor[2], slab.shape[2]))
        means.append(avg_pool3d(slab[None, None], block, ceil_mode=rest)[0, 0])
    return torch.cat(means, -1)


def convolve_axis(volume: Tensor, weights: Sequence[float], axis: int) -> Tensor:
    """Convolve a floating-point tensor along one axis with an odd number of weights, its borders repeated.

    A sum of shifted copies: on a CPU PyTorch's own convolution of a single channel takes far longer
    (`benchmarks/bench_blur.py`).
    """
    reach, size = len(weights) // 2, volume.shape[axis]
    ends = (volume.narrow(axis, place, 1) for place in (0, size - 1))
    before, after = (end.repeat_interleave(reach, axis) for end in ends)
    padded = torch.cat([before, volume, after], axis)
    out = padded.narrow(axis, 0, size) * weights[0]
    for shift, weight in enumerate(weights[1:], 1):
        out.add_(padded.narrow(axis, shift, size), alpha=weight)
    return out


def voxel_ml(affine: Tensor | np.ndarray) -> float:
    """Volume of a voxel in mL; of a sheared affine (gantry tilt) it is less than the product of its edges.

    Args:
        affine: voxel to world in mm, (4, 4).
    """
    x, y, z = np.asarray(affine, dtype=np.float64)[:3, :3].T
    # exact without a shear, other than a determinant by LU
    return abs(float(np.dot(x, np.cross(y, z)))) / 1000


def upright_spacing(affine: Tensor | np.ndarray) -> tuple[float, float, float]:
    """Pixel size and distance of slices in mm, which a tilted gantry makes less than that of voxels."""
    x, y, _ = voxel_spacing(torch.as_tensor(affine))
    return x, y, voxel_ml(affine) * 1000 / (x * y)


def bounding_box(mask: Tensor, margin: Sequence[int] = (0, 0, 0)) -> tuple[slice, slice, slice] | None:
    """Smallest box around a mask (X, Y, Z), widened by `margin` within the volume; None for an empty mask."""
    box = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        present = torch.nonzero(mask.any(dim=others[1]).any(dim=others[0])).flatten()
        if present.numel() == 0:
            return None
        first, last = int(present[0]), int(present[-1])
        box.append(slice(max(0, first - margin[axis]), min(mask.shape[axis], last + 1 + margin[axis])))
    return box[0], box[1], box[2]
