"""The papers' way to the symmetry map: flip left-right, register rigidly to the original, resample.

Less sure than the symmetry plane on turned heads: kept as the independent reference.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor

from tools.core.errors import InputError
from tools.core.extras import extra_packages
from tools.core.tensors import plain, voxel_spacing
from tools.symmetry.transform import SymmetryMapd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundles" / "se_unet3d"))
from scripts.registration import improve_rigid

with extra_packages("registration by ITK"):
    import itk

COMPARED_HU = (0.0, 100.0)
AIR_HU = -1024.0
GRIDS_MM = (8.0, 4.0)  # coarse to fine


class RegisteredSymmetryMapd(SymmetryMapd):
    """`SymmetryMapd` of volumes by rigid registration of the flipped volume; slower.

    Args: see `SymmetryMapd`; what belongs to the plane or to slices has no effect.

    Raises:
        InputError: a volume without an affine.
    """

    def mirrored(self, image: torch.Tensor, content: torch.Tensor) -> tuple[torch.Tensor, None]:
        """See `SymmetryMapd`; there is no plane."""
        if not isinstance(image, MetaTensor):
            raise InputError("symmetry by registration: expected a MetaTensor with an affine in mm")
        spacing = voxel_spacing(image.affine)
        return itk_symmetry_map(plain(image)[0].float(), plain(content)[0].float(), spacing)[None], None


def itk_symmetry_map(
    image: torch.Tensor, content: torch.Tensor, spacing: tuple[float, float, float]
) -> torch.Tensor:
    """Mirrored volume, rigidly registered to the original with mean squares on 0-100 HU.

    Args:
        image: head CT in HU, shape (X, Y, Z), first axis left-right, which is registered.
        content: what is mirrored with the transform found, on the same grid: the image, or its brain alone.
        spacing: voxel size in mm along X, Y, Z.

    Returns:
        float32 tensor of the same shape on the same device; -1024 HU where the mirrored volume ends.
    """
    original = image.detach().cpu().float()
    resampled = itk.resample_image_filter(
        _itk_image(content.detach().cpu().float().flip(0), spacing),
        transform=register_mirrored(original, spacing),
        use_reference_image=True,
        reference_image=_itk_image(original, spacing),
        default_pixel_value=AIR_HU,
    )
    return torch.from_numpy(np.ascontiguousarray(itk.array_from_image(resampled).T)).to(image.device)


def register_mirrored(original: torch.Tensor, spacing: tuple[float, float, float]):
    """ITK transform from points of the original to points of its flip, in mm from voxel 0 along the grid."""
    mirrored = original.flip(0)
    transform = itk.Euler3DTransform[itk.D].New()
    transform.SetCenter([float(c) for c in _centre(original, spacing)])
    shift = _centre(mirrored, spacing) - _centre(original, spacing)
    transform.SetTranslation([float(t) for t in shift])
    for grid in GRIDS_MM:
        fixed, moving = (_brain_image(x, spacing, grid) for x in (original, mirrored))
        metric = itk.MeanSquaresImageToImageMetricv4[type(fixed), type(moving)].New()
        improve_rigid(fixed, moving, transform, metric, minimum_step=1e-3, iterations=200)
    return transform


def _brain_image(image: torch.Tensor, spacing: tuple[float, ...], grid: float):
    """ITK image of the brain window, pooled to about `grid` mm."""
    factor = [max(1, round(grid / s)) for s in spacing]
    pooled = F.avg_pool3d(image.clamp(*COMPARED_HU)[None, None], factor)[0, 0]
    origin = [0.5 * (f - 1) * s for f, s in zip(factor, spacing, strict=True)]
    return _itk_image(pooled, [f * s for f, s in zip(factor, spacing, strict=True)], origin)


def _itk_image(image: torch.Tensor, spacing, origin=(0.0, 0.0, 0.0)):
    out = itk.image_from_array(np.ascontiguousarray(image.numpy().T))
    out.SetSpacing([float(s) for s in spacing])
    out.SetOrigin([float(o) for o in origin])
    return out


def _centre(image: torch.Tensor, spacing: tuple[float, ...]) -> np.ndarray:
    """Centre of the head (denser than -200 HU) in mm."""
    head = (image > -200).float()
    axes = [(0, 1, 2)[:i] + (0, 1, 2)[i + 1 :] for i in range(3)]
    profiles = [head.sum(dim=a).double() for a in axes]
    return np.array(
        [
            float((p * torch.arange(len(p))).sum() / p.sum()) * s
            for p, s in zip(profiles, spacing, strict=True)
        ]
    )
