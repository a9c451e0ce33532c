"""A person made from a prepared label map: another shape, size, age and side, and HU of its own."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from tools.phantom.anatomy import findings
from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.anatomy import Anatomy
from tools.phantom.anatomy.deformation import Deformation
from tools.phantom.anatomy.prepare import PreparedMap
from tools.phantom.anatomy.scalp import add_scalp_hematoma, with_scalp
from tools.phantom.anatomy.traits import draw_traits, hu_table
from tools.phantom.anatomy.warp import gaussian, sample, take
from tools.phantom.fields import band_noise

#: Blur in mm that turns the steps of a label map into smooth borders inside the skull.
SMOOTH = 0.4


def texture(
    wavelengths: tuple[float, ...], n: int, shape: tuple[int, ...], generator: torch.Generator
) -> torch.Tensor:
    """Noise of unit variance (C, X, Y, Z); n samples over 280 mm."""
    fields = band_noise(wavelengths, n, 140.0, generator)
    span = -(-max(shape) // 40) * 40
    if span > 280:  # a very large head repeats nothing, it is only sampled a little more coarsely
        fields = F.interpolate(fields[None], size=(n,) * 3, mode="trilinear", align_corners=True)[0]
    step = 280.0 / (n - 1)
    keep = [min(n, int(np.ceil(k / step)) + 2) for k in shape]
    fields = fields[(slice(None), *(slice(k) for k in keep))]
    size = [round((k - 1) * step) + 1 for k in keep]
    fine = F.interpolate(fields[None], size=size, mode="trilinear", align_corners=True)[0]
    short = [max(0, k - f) for k, f in zip(shape, fine.shape[1:], strict=True)]
    if any(short):
        fine = F.pad(fine[None], [p for s in reversed(short) for p in (0, s)], mode="replicate")[0]
    return fine[(slice(None), *(slice(k) for k in shape))]


def move_sulci(
    labels: torch.Tensor, prepared: PreparedMap, threshold: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels without fluid between the gyri, and the share of fluid there, borders moved by `threshold`."""
    fluid = prepared.fluid.float()
    fluid_label = (labels == L.CSF) & prepared.cavity
    cortex = torch.where(prepared.side > 0, L.CORTEX_RIGHT, L.CORTEX_LEFT).to(labels.dtype)
    solid = torch.where(fluid_label, cortex, labels)
    free = fluid_label | L.is_in(labels, (*L.CORTEX, *L.CEREBELLAR_CORTEX))
    return solid, ((fluid - threshold) / 0.35 + 0.5).clamp_(0, 1) * free


def make_person(
    prepared: PreparedMap, rng: np.random.Generator, generator: torch.Generator, asymmetry: float = 1.0
) -> Anatomy:
    """Make a person of a map.

    Args:
        prepared: the map.
        rng, generator: random numbers and random fields.
        asymmetry: 0 to 1, scales what differs by chance.
    """
    traits = draw_traits(rng, asymmetry)
    tissue = traits.tissue
    deformation = Deformation(prepared, traits, generator)
    table = hu_table(tissue, rng)
    scalp = with_scalp(prepared, traits)
    solid, share = move_sulci(scalp, prepared, traits.sulci)
    labels = torch.where(share > 0.5, torch.tensor(L.CSF, dtype=torch.int16), solid)
    hu = L.look_up(table, solid)
    hu = torch.lerp(hu, torch.full_like(hu, tissue.csf), share)
    # Skin and bone keep their edges: what follows interpolates twice.
    hu = torch.where(prepared.cavity, gaussian(hu, SMOOTH), hu)

    index = deformation.index()
    labels = take(labels, index)
    if traits.mirrored:
        labels = L.look_up(L.mirror_table(), labels)
    hu = sample(hu, index, outside=-1000.0)
    del index
    depth = deformation.smooth(prepared.depth.float(), -60.0)
    side = deformation.smooth(prepared.side.float()) * (-1 if traits.mirrored else 1)
    affine = np.eye(4)
    affine[:3, 3] = deformation.origin
    anatomy = Anatomy(labels, hu, depth, side, affine, traits.age, tissue)

    coarse, middle = texture((60.0, 25.0), 48, anatomy.shape, generator)
    fine = texture((7.0,), 120, anatomy.shape, generator)[0]
    old = float(np.clip(traits.atrophy, 0, 1))
    near = F.avg_pool3d(
        L.is_in(labels, L.VENTRICLES)[None, None].float(), 4, ceil_mode=True, count_include_pad=False
    )
    near = F.interpolate(gaussian(near[0, 0], 2.2)[None, None], scale_factor=4, mode="trilinear")[0, 0]
    near = near[tuple(slice(n) for n in anatomy.shape)]
    names = findings.darken_white_matter(anatomy, near, middle, rng, old)
    brain = L.is_in(labels, L.PARENCHYMA)
    hu += brain * (float(rng.uniform(0.3, 1.0)) * coarse + float(rng.uniform(0.3, 0.9)) * (middle + fine))
    bone = L.is_in(labels, L.SKULL)
    hu += bone * (90.0 * middle + 140.0 * fine)
    hu += (labels == L.AIR_CELLS) * (380.0 * fine)
    soft = L.is_in(labels, (L.MUSCLE, L.FAT))
    hu += soft * (6.0 * middle + 9.0 * fine)
    # Fat between the muscles, more of it in the thick.
    planes = (labels == L.MUSCLE) & ((middle + 0.25 * fine).abs() < 0.06 + 0.05 * traits.fat)
    hu[planes] = tissue.fat + 8.0 * fine[planes]

    names += findings.add_old_infarcts(anatomy, rng, old)
    spots = moved_spots(prepared, deformation, traits.mirrored)
    names += findings.add_calcium(anatomy, spots, rng, old)
    names += findings.add_dural_calcium(anatomy, rng, old)
    names += findings.add_granulations(anatomy, rng)
    if asymmetry > 0:
        names += add_scalp_hematoma(anatomy, rng, fine)
    top = int((labels > 0).flatten(0, 1).any(0).nonzero().max())
    anatomy.truth = {
        "map": prepared.name,
        "mirrored": traits.mirrored,
        "atrophy": round(traits.atrophy, 3),
        "confounders": names,
        "vertex_mm": round(float(deformation.origin[2]) + top, 1),
        "smallest_jacobian": round(deformation.smallest, 4),
    }
    return anatomy


def moved_spots(
    prepared: PreparedMap, deformation: Deformation, mirrored: bool
) -> dict[str, list[tuple[float, ...]]]:
    """Points of the map where they lie in the person, to about a millimetre."""
    moved = {}
    for name, points in prepared.spots.items():
        moved[name] = []
        for point in points:
            # The deformation leads from the person to the map: its inverse by fixed-point iteration.
            target = np.linalg.inv(prepared.to_head) @ (*point, 1.0)
            undeformed = np.linalg.inv(deformation.to_map) @ target
            place = undeformed[:3].copy()
            for _ in range(6):
                local = torch.as_tensor((place - deformation.origin) / 4, dtype=torch.float32)
                u = [float(sample(d, local[None], outside=0.0)[0]) for d in deformation.displacement]
                place = undeformed[:3] - np.asarray(u)
            moved[name].append(tuple(place.tolist()))
    return moved
