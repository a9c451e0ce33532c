"""What a head may have that is no blood: calcium, white-matter disease, old infarcts, lacunes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.anatomy import Anatomy


def box_around(anatomy: Anatomy, center: Sequence[float], reach: float) -> tuple[slice, ...] | None:
    """Voxels within `reach` mm of a point in head coordinates, or None outside the grid."""
    middle = np.asarray(center) - anatomy.affine[:3, 3]
    low = np.maximum(np.floor(middle - reach), 0).astype(int)
    high = np.minimum(np.ceil(middle + reach) + 1, anatomy.shape).astype(int)
    return (
        None if (low >= high).any() else tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    )


def blob(
    anatomy: Anatomy,
    center: Sequence[float],
    radii: Sequence[float],
    rng: np.random.Generator,
    rough: float = 0.25,
) -> tuple[tuple[slice, ...], torch.Tensor] | None:
    """An irregular ellipsoid: its box and the share of each voxel in it, or None outside the grid."""
    box = box_around(anatomy, center, 1.6 * max(radii) + 2)
    if box is None:
        return None
    offsets = [
        (torch.arange(s.start, s.stop, dtype=torch.float32) + float(o - c)).view(shape)
        for s, o, c, shape in zip(
            box, anatomy.affine[:3, 3], center, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True
        )
    ]
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    squared = 0.0
    for row, radius in zip(turn, radii, strict=True):
        squared = squared + (sum(float(w) * o for w, o in zip(row, offsets, strict=True)) / radius) ** 2
    bumps = 0.0
    for _ in range(4):
        wave = rng.standard_normal(3) * 1.7 / max(radii)
        phase = float(rng.uniform(0, 2 * np.pi))
        bumps = bumps + torch.sin(sum(float(w) * o for w, o in zip(wave, offsets, strict=True)) + phase)
    radius = squared.sqrt() * (1 + rough * bumps / 2)
    return box, ((1 - radius) * min(radii) + 0.5).clamp(0, 1)


def add_calcium(
    anatomy: Anatomy, spots: dict[str, list[tuple[float, ...]]], rng: np.random.Generator, old: float
) -> list[str]:
    """Calcium where it is common, brighter than blood or as bright; changes `anatomy`.

    Shares by age after Yalcin et al. (Diagnostic and Interventional Radiology 2016): pineal gland 7 in 10
    adults, choroid plexus 6 in 10, basal ganglia up to 1 in 10.
    """
    names = []
    kinds = {  # share of people, radius in mm, HU
        "choroid": (0.3 + 0.5 * old, (1.2, 4.2), (60, 380)),
        "pineal": (0.4 + 0.4 * old, (1.0, 3.2), (70, 400)),
        "pallidum": (0.03 + 0.2 * old, (1.2, 4.5), (48, 160)),
        "siphons": (0.75 * old, (0.8, 2.2), (120, 600)),
        "basilar": (0.2 * old, (0.7, 1.5), (100, 400)),
    }
    for name, (share, sizes, values) in kinds.items():
        if not spots.get(name) or rng.random() > share:
            continue
        names.append(f"{name} calcium")
        for center in spots[name]:
            if rng.random() < 0.2 and len(spots[name]) > 1:
                continue
            for _ in range(int(rng.integers(1, 4))):
                size = float(np.exp(rng.uniform(*np.log(sizes))))
                place = np.asarray(center) + rng.normal(0, 0.8 * size, 3)
                found = blob(anatomy, place, size * rng.uniform(0.6, 1.4, 3), rng)
                if found is None:
                    continue
                box, part = found
                part = part * (anatomy.depth[box] > 0)
                hu = anatomy.hu[box]
                hu += (float(np.exp(rng.uniform(*np.log(values)))) - hu) * part
                kind = L.CHOROID_CALCIUM if name == "choroid" else L.CALCIUM
                anatomy.labels[box][(part > 0.5)] = kind
    return names


def add_dural_calcium(anatomy: Anatomy, rng: np.random.Generator, old: float) -> list[str]:
    """Plaques in falx and tentorium."""
    if rng.random() > 0.05 + 0.2 * old:
        return []
    places = L.is_in(anatomy.labels, L.DURA).nonzero()
    if not len(places):
        return []
    for _ in range(int(rng.integers(1, 5))):
        center = places[int(rng.integers(len(places)))].numpy() + anatomy.affine[:3, 3]
        found = blob(anatomy, center, rng.uniform((1, 1.5, 1.5), (2.5, 8, 6)), rng)
        if found is None:
            continue
        box, part = found
        part = part * L.is_in(anatomy.labels[box], (*L.DURA, L.CSF, L.SINUS))
        hu = anatomy.hu[box]
        hu += (float(rng.uniform(80, 500)) - hu) * part
    return ["dural calcium"]


def add_granulations(anatomy: Anatomy, rng: np.random.Generator) -> list[str]:
    """Arachnoid granulations: pits of fluid in the inner table beside the great sinuses."""
    count = int(rng.poisson(1.2))
    near = L.is_in(anatomy.labels, (L.BONE, L.MARROW)) & (anatomy.depth > -3) & (anatomy.side.abs() < 25)
    places = (near & (anatomy.depth < -0.5)).nonzero()
    high = anatomy.shape[2] * 0.55
    places = places[places[:, 2] > high]
    for _ in range(count if len(places) else 0):
        center = places[int(rng.integers(len(places)))].numpy() + anatomy.affine[:3, 3]
        found = blob(anatomy, center, rng.uniform(1.5, 4.0, 3), rng)
        if found is None:
            continue
        box, part = found
        part = part * (anatomy.depth[box] > -5.0) * (anatomy.depth[box] < 1)
        hu = anatomy.hu[box]
        hu += (anatomy.tissue.csf - hu) * part
        anatomy.labels[box][part > 0.5] = L.GRANULATION
    return ["arachnoid granulations"] if count and len(places) else []


def add_old_infarcts(anatomy: Anatomy, rng: np.random.Generator, old: float) -> list[str]:
    """Old infarcts of cortex and white matter, and lacunes: tissue replaced by fluid; changes `anatomy`."""
    names = []
    plans = []
    if rng.random() < 0.03 + 0.22 * old:
        plans += [("old infarct", L.CORTEX, rng.uniform(6, 26), 0.45) for _ in range(int(rng.integers(1, 3)))]
    if rng.random() < 0.04 + 0.5 * old:
        deep = (*L.BASAL_GANGLIA, *L.THALAMUS)
        plans += [("lacune", deep, rng.uniform(1.5, 5), 0.2) for _ in range(int(rng.integers(1, 5)))]
    for name, numbers, size, rough in plans:
        places = L.is_in(anatomy.labels, numbers).nonzero()
        if not len(places):
            continue
        center = places[int(rng.integers(len(places)))].numpy() + anatomy.affine[:3, 3]
        found = blob(anatomy, center, size * rng.uniform(0.6, 1.3, 3), rng, rough)
        if found is None:
            continue
        names.append(name)
        box, part = found
        inside = L.is_in(anatomy.labels[box], L.CEREBRUM)
        part = part * inside * float(rng.uniform(0.7, 1.0))
        hu = anatomy.hu[box]
        hu += (anatomy.tissue.csf + float(rng.uniform(1, 8)) - hu) * part
        anatomy.labels[box][part > 0.5] = L.INFARCT
    return sorted(set(names))


def darken_white_matter(
    anatomy: Anatomy, near_ventricles: torch.Tensor, noise: torch.Tensor, rng: np.random.Generator, old: float
) -> list[str]:
    """Dark white matter of the old, around the ventricles and in patches; changes `anatomy`."""
    amount = float(old**1.5 * rng.uniform(0, 14))
    white = L.is_in(anatomy.labels, L.WHITE)
    patches = (near_ventricles * 2.4 + 0.45 * noise - 0.35).clamp(0, 1)
    low = anatomy.tissue.csf + 8
    anatomy.hu -= amount * patches * white * ((anatomy.hu - low) / 15).clamp(0, 1)
    return ["white-matter disease"] if amount > 4 else []
