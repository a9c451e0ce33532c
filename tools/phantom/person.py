"""Everything about a head that is chosen once: age, size, atrophy, HU of its tissues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Person:
    """Numbers that shape one head; lengths in mm, tissue values in HU."""

    age: float
    scale: tuple[float, float, float]
    back: float  # how much wider the head is at the back than at the front
    skull: float
    scalp: float
    fat: float
    sulci: float  # half-width of a sulcus at the surface
    subarachnoid: float
    fissure: float
    ventricle: float  # factor on the ventricles' radii
    ventricle_sides: tuple[float, float]
    third: float
    leukoaraiosis: float  # HU lost around the ventricles of old white matter
    pneumatised: float
    warp: float
    bend: float  # of the falx, in mm
    grey: float
    white: float
    csf: float
    falx: float
    sinus: float
    artery: float
    bone: float
    diploe: float

    @property
    def atrophy(self) -> float:
        """0 in a young adult, 1 at about 90."""
        return float(np.clip((self.age - 25) / 65, 0, 1))


def draw_person(rng: np.random.Generator, asymmetry: float = 1.0) -> Person:
    """Draw an adult or older child."""
    age = float(np.clip(rng.choice([rng.normal(35, 14), rng.normal(68, 11)]), 8, 95))
    old = float(np.clip((age - 25) / 65, 0, 1)) * rng.uniform(0.6, 1.3)
    size = rng.normal(0.985, 0.02)
    dense = rng.random() < 0.12
    white = rng.normal(28.3, 1.0) - 0.8 * old
    sides = np.exp(rng.normal(0, 0.12, 2) * asymmetry)
    if asymmetry == 0:
        sides = np.ones(2)
    return Person(
        age=age,
        scale=tuple(float(size * s) for s in rng.normal(1, (0.02, 0.02, 0.02))),
        back=float(rng.uniform(0.05, 0.13)),
        skull=float(np.clip(rng.normal(6.4, 1.0), 4.5, 9.5)),
        scalp=float(rng.uniform(4.5, 8.0)),
        fat=float(rng.uniform(0.08, 0.7)),
        sulci=float(0.14 + 0.9 * old + rng.uniform(0, 0.15)),
        subarachnoid=float(0.5 + 2.4 * old * rng.uniform(0.5, 1.2)),
        fissure=float(0.3 + 1.0 * old),
        ventricle=float(0.72 + 0.75 * old * rng.uniform(0.6, 1.3) + rng.uniform(-0.1, 0.15)),
        ventricle_sides=(float(sides[0]), float(sides[1])),
        third=float(1.3 + 2.6 * old),
        leukoaraiosis=float(old**1.5 * rng.uniform(3, 15)),
        pneumatised=float(rng.uniform(0.2, 1.0)),
        warp=float(rng.uniform(0.8, 2.0)),
        bend=0.5 * asymmetry,
        grey=float(white + rng.uniform(7.0, 9.5)),
        white=float(white),
        csf=float(rng.uniform(3, 9)),
        falx=float(rng.uniform(48, 60)),
        sinus=float(rng.uniform(62, 72) if dense else rng.uniform(46, 60)),
        artery=float(rng.uniform(58, 70) if dense else rng.uniform(42, 52)),
        bone=float(rng.uniform(1250, 1700)),
        diploe=float(rng.uniform(450, 850)),
    )
