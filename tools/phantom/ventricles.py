"""Lateral, third and fourth ventricles as tapered tubes and ellipsoids."""

from __future__ import annotations

import torch

from tools.phantom.fields import capsule, ellipsoid, smin
from tools.phantom.person import Person

#: Vertical stretch: the horns are higher than wide.
TALL = 0.62

#: One lateral ventricle, front to back, then the temporal horn: |x|, y, z, radius in mm.
CHAIN = (
    ((15, 33, 5, 2.4), (8, 22, 9, 4.4)),
    ((8, 22, 9, 4.4), (5.2, 9, 12, 3.4)),
    ((5.2, 9, 12, 3.4), (9, -4, 20, 3.8)),
    ((9, -4, 20, 3.8), (16, -20, 21, 4.2)),
    ((16, -20, 21, 4.2), (25, -36, 13, 6.0)),
    ((25, -36, 13, 6.0), (27, -60, 6, 1.6)),
    ((25, -36, 13, 6.0), (34, -26, -6, 2.2)),
    ((34, -26, -6, 2.2), (31, -3, -19, 1.4)),
)


def ventricle_distance(
    x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, person: Person, factor: float = 1.0
) -> torch.Tensor:
    """Distance in mm to the ventricles; `factor` widens them (hydrocephalus)."""
    a = x.abs()
    right, left = (side * person.ventricle * factor for side in person.ventricle_sides)
    size = torch.where(x > 0, right, left)
    distance = None
    for start, end in CHAIN:
        # Growing the radius by the side's factor equals shifting the distance, as the taper is slight.
        middle = (start[3] + end[3]) / 2
        scaled = [(p[0], p[1], p[2] * TALL, p[3]) for p in (start, end)]
        tube = capsule(a, y, z * TALL, *scaled) - middle * (size - 1)
        distance = tube if distance is None else smin(distance, tube, 3.0)
    third = ellipsoid(x, y + 2, z - 2, person.third * factor**0.5, 13, 11)
    fourth = ellipsoid(
        x, y + 37 - 0.2 * (z + 33) + 0.35 * a, z + 32, 7.5 + 1.5 * person.atrophy, 3.6 * factor**0.5, 13
    )
    return smin(torch.minimum(distance, fourth), third, 1.5)
