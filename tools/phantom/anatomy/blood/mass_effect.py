"""Mass effect: a smooth displacement of the brain that cannot fold, and narrow fluid spaces that close."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.anatomy import Tissue
from tools.phantom.anatomy.blood.bleed import Bleed
from tools.phantom.anatomy.blood.site import Site, length, smoothstep, unflatten
from tools.phantom.anatomy.blood.spaces import COARSE, STEP, Spaces, sample
from tools.phantom.anatomy.warp import integrate, jacobian

#: Jacobian below which a displacement is halved.
LEAST_JACOBIAN = 0.05


def midline_velocity(site: Site, shift: float) -> torch.Tensor:
    """(3, N) pull-back velocity that moves the middle of the brain by `shift` mm to the right."""
    mni = site.mni
    weight = torch.exp(-(((mni[1] + 12) / 58) ** 2) - ((mni[2] - 6) / 36) ** 2)
    weight = weight * smoothstep(site.depth, 0, 38) * smoothstep(-site.tent, -6, 8)
    velocity = torch.zeros_like(site.points)
    velocity[0] = -shift * weight
    return velocity


def dilation_velocity(site: Site, shape: Sequence[int], mm: float) -> torch.Tensor:
    """(3, N) pull-back velocity that widens the ventricles by `mm`."""
    field = site.ventricle.view(*shape)
    slope = torch.stack(torch.gradient(field, spacing=float(COARSE))).flatten(1)
    fade = torch.exp(-((site.ventricle / 16) ** 2)) * smoothstep(site.depth, 0, 15)
    return -mm * slope * fade


def displace(spaces: Spaces, site: Site, velocity: torch.Tensor) -> torch.Tensor | None:
    """Displacement (3, x/4, y/4, z/4) in mm of a velocity at coarse points; None where nothing moves."""
    shape = [n // COARSE for n in spaces.cavity.shape]
    field = velocity.view(3, *shape)
    # A field as smooth as its grid can carry.
    field = F.avg_pool3d(F.pad(field[None], (1,) * 6, mode="replicate"), 3, 1)[0] * 0.5 + field * 0.5
    for _ in range(4):
        moved = integrate(field, COARSE)
        if float(jacobian(moved, COARSE).min()) > LEAST_JACOBIAN:
            return moved if float(moved.abs().max()) > 0.15 else None
        field = field / 2
    return None


def hold_inside(spaces: Spaces, points: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    """Sources (3, N) of points under a displacement (3, N) that would reach into bone come less far."""
    source = points + moved
    for share in (0.75, 0.5, 0.25, 0.0):
        reaching = (sample(spaces.fields[:1], source, STEP)[0] < 1.5).nonzero()[:, 0]
        source[:, reaching] = points[:, reaching] + share * moved[:, reaching]
    return source


def move_tissue(
    spaces: Spaces, displacement: torch.Tensor, labels: torch.Tensor, hu: torch.Tensor, tissue: Tissue
) -> None:
    """Move labels (X, Y, Z) and HU (X, Y, Z) inside the skull, in place; narrow fluid spaces close."""
    box, shape = spaces.box, spaces.cavity.shape
    moving = F.max_pool3d((length(displacement) > 0.2)[None, None].float(), 3, 1, 1)[0, 0].bool()
    flat = (repeat(moving) & spaces.cavity).view(-1).nonzero()[:, 0]
    points = unflatten(flat, shape)
    moved = sample(displacement, points, COARSE)
    source = hold_inside(spaces, points, moved)
    size = torch.tensor(shape, device=flat.device)[:, None]
    near = source.round().long().clamp_min(0).minimum(size - 1)
    before = labels[box].reshape(-1)
    new = before[(near[0] * shape[1] + near[1]) * shape[2] + near[2]]
    values = sample(hu[box][None], source, 1)[0]
    # The skull does not move: what would come from beyond it is fluid, and bone nearby brightens nothing.
    outside = ~L.is_in(new, L.INTRACRANIAL) | (new == L.SINUS)
    new = torch.where(outside, torch.full_like(new, L.CSF), new)
    near_bone = sample(spaces.fields[:1], source, STEP)[0] < 3
    values = torch.where(near_bone, values.clamp_max(tissue.grey + 3), values)
    values = torch.where(outside, torch.full_like(values, tissue.csf), values)
    fixed = before[flat] == L.SINUS
    new = torch.where(fixed, before[flat], new)
    values = torch.where(fixed, hu[box].reshape(-1)[flat], values)
    after = before.clone()
    after[flat] = new
    fluid = L.is_in(after, (L.CSF, *L.VENTRICLES)).view(1, 1, *shape).float()
    wide = F.avg_pool3d(F.avg_pool3d(fluid, 2), 3, 1, 1)[0]
    wide = sample(wide, points, 2)[0]
    pressed = length(moved)
    site = Site(spaces, points, torch.tensor([0.0, 1.0, 0.0], device=points.device), displacement)
    # Narrow fluid closes, in the HU of its borders too; ventricles resist more than sulci.
    inner = site.ventricle < 3
    ventricle, open_fluid = L.is_in(new, L.VENTRICLES), new == L.CSF
    limit = torch.where(inner, 0.09 * pressed, 0.12 + 0.17 * pressed)
    close = ((limit - wide) / 0.12 + 0.5).clamp(0, 1) * (wide > 0.005) * smoothstep(pressed, 0.5, 1.5)
    right = (site.side > 0).to(new.dtype)
    cortex = L.CORTEX_LEFT + (L.CORTEX_RIGHT - L.CORTEX_LEFT) * right
    folia = L.CEREBELLAR_CORTEX_LEFT + (L.CEREBELLAR_CORTEX_RIGHT - L.CEREBELLAR_CORTEX_LEFT) * right
    white = L.WHITE_LEFT + (L.WHITE_RIGHT - L.WHITE_LEFT) * right
    solid = torch.where(ventricle, white, torch.where(site.tent > 0, folia, cortex))
    pale = ventricle | L.is_in(new, (*L.WHITE, *L.CEREBELLAR_WHITE))
    level = torch.full_like(values, tissue.grey).where(~pale, torch.full_like(values, tissue.white))
    new = torch.where((close > 0.5) & (ventricle | open_fluid), solid, new)
    values = values + (level - values).clamp_min(0) * close
    scatter(labels, box, flat, new)
    scatter(hu, box, flat, values)


def repeat(coarse: torch.Tensor) -> torch.Tensor:
    """(4x, 4y, 4z) voxels of 1 mm from coarse ones (x, y, z)."""
    for axis in range(3):
        coarse = coarse.repeat_interleave(COARSE, axis)
    return coarse


def scatter(volume: torch.Tensor, box: tuple[slice, ...], flat: torch.Tensor, values: torch.Tensor) -> None:
    """Write values at flat indices of a box of a volume, in place."""
    part = volume[box].reshape(-1)
    part[flat] = values
    volume[box] = part.view(volume[box].shape)


def midline_shift(bleeds: Sequence[Bleed]) -> float:
    """mm to the right by which the masses push the midline, from each bleed's volume, side and stiffness."""
    shift = 0.0
    for bleed in bleeds:
        shift -= bleed.sign * bleed.volume * bleed.shift
    return max(-14.0, min(14.0, shift))
