"""One step of ITK's rigid registration, for all who register. Imports ITK late: the rest works without it."""

from __future__ import annotations

from typing import Any

__all__ = ["improve_rigid"]


def improve_rigid(
    fixed: Any, moving: Any, transform: Any, metric: Any, minimum_step: float, iterations: int
) -> None:
    """Improve a rigid transform in place; every voxel counts, so the result depends on no seed.

    Args:
        fixed, moving: ITK images.
        transform: ITK transform from points of `fixed` to points of `moving`, mm.
        metric: ITK metric that is made smaller.
        minimum_step: step in mm at which the search ends.
        iterations: steps after which it ends.
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
