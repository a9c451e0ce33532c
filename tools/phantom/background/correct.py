"""Labels of a map put right where the scan's own HU say otherwise."""

from __future__ import annotations

import torch

from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.distances import grow

#: HU below which tissue inside the skull is fluid, and from which it surely is none.
FLUID_HU, SOLID_HU = 18.0, 23.0

#: HU from which something inside the skull is calcified.
CALCIUM_HU = 75.0

#: mm by which the ventricles of a scan may lie outside those of the moved map.
VENTRICLE_REACH = 3

#: mm below the inner table where bone blurs into the brain: HU there say little.
RIM = 3.0


def correct_labels(
    labels: torch.Tensor, hu: torch.Tensor, depth: torch.Tensor, side: torch.Tensor
) -> torch.Tensor:
    """Correct a label map that was moved onto a scan.

    Args:
        labels: (X, Y, Z) int16 on a grid of 1 mm.
        hu: HU of the scan there, smoothed.
        depth: mm below the inner table of the scan, negative outside.
        side: mm to the right of the middle.

    Returns:
        (X, Y, Z) int16: inside the skull fluid is where HU are low, ventricle where that touches the map's
        ventricles, calcium where HU are high; outside it tissues are named by their HU alone.
    """

    def number(value: int) -> torch.Tensor:
        return torch.tensor(value, dtype=labels.dtype, device=labels.device)

    def by_side(left: int, right: int) -> torch.Tensor:
        return torch.where(side > 0, number(right), number(left))

    cavity = depth > 0
    ventricle = L.is_in(labels, L.VENTRICLES) & cavity
    fluid = cavity & (hu < FLUID_HU)
    solid = cavity & (hu > SOLID_HU) & (depth > RIM)
    kept = ventricle & ~solid
    core = ventricle & fluid
    grown = (fluid & grow(core, VENTRICLE_REACH) & (depth > 12)) | kept
    lateral = by_side(L.LATERAL_LEFT, L.LATERAL_RIGHT)
    out = labels
    # Inside: what the map calls bone or scalp is brain.
    out = torch.where(cavity & ~L.is_in(out, L.INTRACRANIAL), by_side(L.CORTEX_LEFT, L.CORTEX_RIGHT), out)
    out = torch.where(ventricle & ~grown, by_side(L.WHITE_LEFT, L.WHITE_RIGHT), out)
    out = torch.where(solid & L.is_in(out, L.FLUID), by_side(L.CORTEX_LEFT, L.CORTEX_RIGHT), out)
    firm = (*L.DURA, L.SINUS, L.ARTERY)
    out = torch.where(fluid & ~grown & ~L.is_in(out, firm), number(L.CSF), out)
    out = torch.where(grown & ~L.is_in(out, L.VENTRICLES), lateral, out)
    bright = cavity & (hu > CALCIUM_HU) & (depth > 12) & ~L.is_in(out, (*L.DURA, L.SINUS))
    out = torch.where(bright, torch.where(grow(grown, 2), number(L.CHOROID_CALCIUM), number(L.CALCIUM)), out)
    # Outside: by HU.
    outer = torch.full_like(out, L.AIR)
    for low, value in ((-300.0, L.FAT), (-30.0, L.MUSCLE), (150.0, L.MARROW), (500.0, L.BONE)):
        outer = torch.where(hu >= low, number(value), outer)
    return torch.where(cavity, out, outer)
