"""The numbers that make a person of a map, and the HU of its tissues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.anatomy import Tissue


@dataclass(frozen=True)
class Traits:
    """All numbers of a person; lengths in mm."""

    age: float
    atrophy: float  # 0 in a young adult, 1 at about 90
    size: tuple[float, float, float]
    mirrored: bool
    warp: float  # standard deviation of the velocity field
    ventricles: float  # how far the walls of the ventricles move outwards
    sulci: float  # threshold on the smoothed share of fluid: below 0.5 sulci are wider than in the map
    fat: float  # thickness of the fat under the skin
    tissue: Tissue


def draw_tissue(rng: np.random.Generator, atrophy: float) -> Tissue:
    """HU of a person's tissues.

    Grey 32-42 and white 22-32 (Cala et al., Neuroradiology 1981: lower in the old), fluid 0-13; venous blood
    and arteries by hematocrit (New and Aronow, Radiology 1976); dura 44-58.
    """
    white = float(np.clip(rng.normal(28.0, 1.6) - 1.5 * atrophy, 22, 32))
    blood = 1.15 * float(np.clip(rng.normal(42, 4.5), 27, 54)) + 1.5
    return Tissue(
        grey=float(np.clip(white + rng.normal(7.6, 1.4), white + 4.5, 42)),
        white=white,
        csf=float(np.clip(rng.normal(6, 2.5), 0, 13)),
        sinus=blood + float(rng.normal(2, 2)),
        artery=blood - float(rng.uniform(3, 8)),
        dura=float(rng.uniform(44, 58)),
        muscle=float(rng.uniform(50, 62)),
        fat=float(rng.uniform(-108, -85)),
        bone=float(rng.uniform(1050, 1650)),
        marrow=float(rng.uniform(250, 750)),
    )


def draw_traits(rng: np.random.Generator, asymmetry: float = 1.0) -> Traits:
    """Draw a person of 16 to 96 years."""
    age = float(np.clip(rng.choice([rng.normal(38, 14), rng.normal(68, 12)]), 16, 96))
    atrophy = float(np.clip((age - 25) / 65, 0, 1) * rng.uniform(0.5, 1.35))
    return Traits(
        age=age,
        atrophy=atrophy,
        size=tuple((rng.normal(1, 0.03) * rng.normal(1, (0.025, 0.025, 0.025))).tolist()),
        mirrored=bool(rng.random() < 0.5),
        warp=float(rng.uniform(0.6, 2.4)) * (0.3 + 0.7 * asymmetry),
        ventricles=float(np.clip(rng.normal(-0.6 + 3.2 * atrophy, 1.0), -1.6, 4.5)),
        sulci=float(np.clip(rng.normal(0.80 - 0.36 * atrophy, 0.07), 0.3, 0.92)),
        fat=float(np.clip(rng.normal(3.6, 1.8), 0.5, 8.0)),
        tissue=draw_tissue(rng, atrophy),
    )


def hu_table(tissue: Tissue, rng: np.random.Generator) -> torch.Tensor:
    """Mean HU by label, (L.COUNT,) float32."""
    t, table = tissue, torch.full((L.COUNT,), 35.0)
    deep = t.grey - float(rng.uniform(-1.0, 1.5))
    groups = {
        (L.AIR,): -1000.0,
        L.WHITE: t.white,
        L.CORTEX: t.grey,
        L.CEREBELLAR_CORTEX: t.grey - 1.0,
        L.CEREBELLAR_WHITE: 0.6 * t.white + 0.4 * t.grey,
        L.DEEP_GREY: deep,
        L.THALAMUS: 0.75 * deep + 0.25 * t.white,
        L.VENTRAL: 0.5 * deep + 0.5 * t.white,
        (L.PALLIDUM_LEFT, L.PALLIDUM_RIGHT): deep + 1.0,
        (L.BRAIN_STEM,): 0.35 * t.grey + 0.65 * t.white,
        (L.CHIASM,): t.white + 4,
        L.LESIONS: t.white - 3,
        L.VENTRICLES: t.csf,
        L.CHOROID: t.csf + 16,
        L.FLUID: t.csf,
        (L.SINUS,): t.sinus,
        (L.ARTERY, 30, 62, L.VESSEL): t.artery,
        L.DURA: t.dura,
        (L.EYE,): 8.0,
        (L.LENS_ORBIT,): 42.0,
        (L.MUSCLE, L.SOFT): t.muscle,
        (L.SKIN,): t.muscle + 5,
        (L.FAT,): t.fat,
        (L.MUCOSA,): 25.0,
        (L.CORD,): 32.0,
        (L.BONE,): t.bone,
        (L.MARROW,): t.marrow,
        (L.AIR_CELLS,): -420.0,
        (L.PITUITARY,): 50.0,
        (L.PINEAL,): t.grey,
    }
    for numbers, value in groups.items():
        table[list(numbers)] = float(value)
    return table
