"""One case on a real scan: blood blended into it, whose noise, texture and partial volume stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tools.core.tensors import voxel_ml
from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.anatomy import Anatomy
from tools.phantom.anatomy.blood import Blood, draw_blood
from tools.phantom.anatomy.render import SliceSampler
from tools.phantom.anatomy.warp import gaussian
from tools.phantom.appearance import widen
from tools.phantom.background.background import Background
from tools.phantom.case import PhantomCase, Volumes, finish_case
from tools.phantom.kinds import draw_types
from tools.phantom.scanner.closed_form import blur_slices

#: mm, standard deviation of the point spread with which blood is drawn.
BLUR = 0.5

#: HU between which tissue lies; beyond them it is bone or air that blurs into what blood replaces, and stays.
TISSUE_HU = (0.0, 45.0)

Draw = Callable[[Anatomy, tuple[str, ...], np.random.Generator, torch.Generator], Blood]


def change_of(before: Anatomy, blood: Blood) -> torch.Tensor:
    """HU that blood and its mass effect add to the head, (X, Y, Z) on the head's grid; 0 elsewhere."""
    share = blood.shares.sum(0)
    after = blood.anatomy.hu
    moved = torch.zeros_like(share) if after is before.hu else after - before.hu
    tissue = (before.hu + moved).clamp(*TISSUE_HU)
    return moved + torch.where(share > 0, share * (blood.hu - tissue), 0.0)


def render_background(
    background: Background,
    seed: int,
    index: int,
    kind: str,
    device: torch.device,
    draw: Draw = draw_blood,
    appearance: str = "natural",
) -> PhantomCase:
    """Compute a case on the grid of the scan.

    Args:
        background: the scan.
        seed, index, kind, device: as in `HeadPhantom`.
        draw: draws the blood.
        appearance: as in `HeadPhantom`.
    """
    state = np.random.SeedSequence([seed, index])
    rng = np.random.default_rng(state)
    generator = torch.Generator().manual_seed(int(state.generate_state(1, np.uint64)[0]) >> 1)
    types = draw_types(kind, index, rng)
    anatomy = background.anatomy.to(device)
    blood = draw(anatomy, types, rng, generator)
    hu, spacing = background.hu.to(device), background.spacing
    sampler = SliceSampler(anatomy, background.pose, background.affine, hu.shape, spacing[2])
    shares = [sampler(share) for share in blood.shares]
    image = hu
    if blood.types:
        change = sampler(change_of(anatomy, blood))
        image = hu + blur_slices(change, (BLUR / spacing[0], BLUR / spacing[1]))
    ventricle = sampler(gaussian(L.is_in(blood.anatomy.labels, L.VENTRICLES).float(), 0.5))
    brain = background.brain.to(device).float()
    volumes = Volumes(
        hu=hu,
        head=(hu > -400).float(),
        brain=brain,
        ventricle=ventricle * brain,
        depth=torch.zeros_like(hu),
        band=torch.zeros_like(hu),
        shares=torch.stack(shares) if shares else hu.new_zeros((0, *hu.shape)),
    )
    ml = voxel_ml(background.affine)
    truth: dict[str, Any] = {
        "seed": seed,
        "index": index,
        "kind": kind,
        "types": list(blood.types),
        "plane": background.pose.plane(),
        "pose": background.pose.as_dict(),
        "age": None,
        "sex": "",
        "confounders": [],
        "background": background.name,
        **anatomy.truth,
        **blood.truth,
        "exact_ml": {n: float(s.sum()) * ml for n, s in zip(blood.types, shares, strict=True)},
        "scanner": {},
    }
    image = image.round().clamp(-1024, 3071)
    if appearance == "wide":
        image, truth["appearance"] = widen(image, spacing, rng, generator)
    return finish_case(volumes, image, blood.types, background.affine, truth)
