"""Rigid registration by ITK, which is imported late: all else works without it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Spacing

from tools.core.errors import InputError
from tools.core.extras import extra_packages

__all__ = ["RegisterRigidd", "improve_rigid", "register_rigid"]

AIR_HU = -1024.0
GRIDS_MM = (8.0, 4.0)  # coarse to fine
SOFT_HU = (-100.0, 200.0)  # what is compared: skin to contrast and skull


def register_rigid(moving: MetaTensor, fixed: MetaTensor, fill: float = AIR_HU) -> MetaTensor:
    """Move `moving` rigidly onto `fixed` (mutual information, coarse to fine) and resample it there.

    Args:
        moving, fixed: volumes in HU, (1, X, Y, Z) with affines in mm; their grids may differ.
        fill: value where `moving` has no data.

    Returns:
        `moving` on the grid of `fixed`: its shape, affine and metadata; float32.
    """
    with extra_packages("registration by ITK"):
        import itk

    transform = itk.Euler3DTransform[itk.D].New()
    transform.SetCenter(_centre(fixed).tolist())
    transform.SetTranslation((_centre(moving) - _centre(fixed)).tolist())
    for grid in GRIDS_MM:
        coarse = Spacing([grid] * 3, mode="bilinear")
        still, moved = (_itk_image(coarse(x.clone()).clamp(*SOFT_HU)) for x in (fixed, moving))
        kind = type(still)
        metric = itk.MattesMutualInformationImageToImageMetricv4[kind, kind].New(number_of_histogram_bins=32)
        improve_rigid(still, moved, transform, metric)
    resampled = itk.resample_image_filter(
        _itk_image(moving),
        transform=transform,
        use_reference_image=True,
        reference_image=_itk_image(fixed),
        default_pixel_value=fill,
    )
    values = torch.from_numpy(np.ascontiguousarray(itk.array_from_image(resampled).T))[None]
    return MetaTensor(values.to(fixed.device)).copy_meta_from(fixed)


class RegisterRigidd(MapTransform):
    """Dictionary transform of `register_rigid`: volumes under `keys` move to the grid of `reference_key`.

    Raises:
        InputError: a case has no volume under one of `keys`.
    """

    def __init__(self, keys: KeysCollection, reference_key: str = "image", fill: float = AIR_HU) -> None:
        super().__init__(keys)
        self.reference_key, self.fill = reference_key, fill

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        reference = d[self.reference_key]
        for key in self.keys:
            if key not in d:
                name = reference.meta.get("filename_or_obj", "a case")
                raise InputError(f"{name}: expected the key `{key}` beside it in the datalist, found none")
            d[key] = register_rigid(d[key], reference, self.fill)
        return d


def improve_rigid(
    fixed: Any, moving: Any, transform: Any, metric: Any, minimum_step: float = 0.02, iterations: int = 50
) -> None:
    """Make a metric of ITK smaller, in place, by a transform from points of `fixed` to those of `moving`, mm.

    Every voxel counts, so the result depends on no seed. It ends after so many iterations, or at a smaller
    step in mm.
    """
    import itk

    kind = type(fixed)
    optimizer = itk.RegularStepGradientDescentOptimizerv4[itk.D].New(
        learning_rate=4.0,
        minimum_step_length=minimum_step,
        number_of_iterations=iterations,
        relaxation_factor=0.6,
    )
    scales = itk.RegistrationParameterScalesFromPhysicalShift[type(metric)].New(metric=metric)
    optimizer.SetScalesEstimator(scales)
    method = itk.ImageRegistrationMethodv4[kind, kind].New(
        fixed_image=fixed,
        moving_image=moving,
        metric=metric,
        optimizer=optimizer,
        initial_transform=transform,
    )
    method.InPlaceOn()
    method.SetNumberOfLevels(1)
    method.SetShrinkFactorsPerLevel([1])
    method.SetSmoothingSigmasPerLevel([0])
    method.Update()


def _itk_image(volume: Any) -> Any:
    """ITK image in RAS world mm; ITK itself has no opinion on where the axes point."""
    import itk

    affine = volume.affine.cpu().numpy()
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = itk.image_from_array(np.ascontiguousarray(volume.as_tensor()[0].cpu().float().numpy().T))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(affine[:3, :3] / spacing)))
    return image


def _centre(volume: MetaTensor) -> np.ndarray:
    """Centre of the head (denser than -200 HU) in world mm."""
    voxels = torch.nonzero(volume.as_tensor()[0] > -200).double().mean(0).cpu().numpy()
    affine = volume.affine.cpu().numpy()
    return affine[:3, :3] @ voxels + affine[:3, 3]
