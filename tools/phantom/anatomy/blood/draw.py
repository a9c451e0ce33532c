"""Drawing the blood of one head."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.weak import WeakIdKeyDictionary

from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy.anatomy import Anatomy
from tools.phantom.anatomy.blood.bleed import Bleed
from tools.phantom.anatomy.blood.blood import Blood
from tools.phantom.anatomy.blood.epidural import Epidural
from tools.phantom.anatomy.blood.intraparenchymal import Intraparenchymal
from tools.phantom.anatomy.blood.intraventricular import Intraventricular
from tools.phantom.anatomy.blood.mass_effect import (
    dilation_velocity,
    displace,
    midline_shift,
    midline_velocity,
    move_tissue,
    repeat,
    scatter,
)
from tools.phantom.anatomy.blood.site import Site, length, unflatten
from tools.phantom.anatomy.blood.spaces import COARSE, Spaces, find_spaces
from tools.phantom.anatomy.blood.subarachnoid import Subarachnoid
from tools.phantom.anatomy.blood.subdural import Subdural

#: mL that all masses of one head may have together.
MOST_TOGETHER = 140.0

#: Order in which bleeds take their room: layers push the brain, masses take tissue, the rest fills fluid.
ORDER = ("edh", "sdh", "iph", "ivh", "sah")

_spaces: WeakIdKeyDictionary = WeakIdKeyDictionary()


def spaces_of(anatomy: Anatomy) -> Spaces:
    """The measured spaces of a head, kept for as long as its label map lives."""
    if anatomy.labels not in _spaces:
        _spaces[anatomy.labels] = find_spaces(anatomy.labels)
    found = _spaces[anatomy.labels]
    return replace(found, labels=anatomy.labels)


def draw_bleeds(types: tuple[str, ...], rng: np.random.Generator, spaces: Spaces) -> list[Bleed]:
    """Draw the numbers of each bleed, in the order in which they take their room."""
    trauma = "edh" in types or (
        "ivh" not in types and rng.random() < (0.65 if {"sdh", "sah"} & set(types) else 0.15)
    )
    bleeds: dict[str, Bleed] = {}
    if "edh" in types:
        bleeds["edh"] = Epidural(rng)
    if "sdh" in types:
        bleeds["sdh"] = Subdural(rng)
    if "iph" in types:
        bleeds["iph"] = Intraparenchymal(rng, spaces, contusion=trauma, into_ventricle="ivh" in types)
    if "ivh" in types:
        source = bleeds.get("iph")
        near = source is not None and source.place in ("basal ganglia", "thalamus")
        side = 0.0
        if near:
            site = Site(spaces, source.center[:, None], torch.zeros(3, device=spaces.device))
            side = float(torch.sign(site.side[0])) or 1.0
        bleeds["ivh"] = Intraventricular(rng, source.center if near else None, side)
    if "sah" in types:
        bleeds["sah"] = Subarachnoid(rng, traumatic=trauma)
    masses = sum(bleeds[name].volume for name in ("edh", "sdh", "iph") if name in bleeds)
    if masses > MOST_TOGETHER:
        for name in ("edh", "sdh", "iph"):
            if name in bleeds:
                bleeds[name].volume *= MOST_TOGETHER / masses
    return [bleeds[name] for name in ORDER if name in bleeds]


def coarse_points(spaces: Spaces) -> torch.Tensor:
    """(3, N) positions in the box of the middles of coarse voxels."""
    axes = [
        torch.arange(n // COARSE, dtype=torch.float32, device=spaces.device) * COARSE + (COARSE - 1) / 2
        for n in spaces.cavity.shape
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)


class Drawing:
    """The blood of one head while it is being drawn; all volumes are those of the box of `spaces`."""

    def __init__(self, spaces: Spaces, up: torch.Tensor, generator: torch.Generator) -> None:
        self.spaces, self.up, self.generator = spaces, up, generator
        self.displacement: torch.Tensor | None = None
        self.used = torch.zeros(spaces.cavity.shape, device=spaces.device)
        self.hu = torch.zeros_like(self.used)
        self.coarse = Site(spaces, coarse_points(spaces), up)
        self.shares: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.sites: dict[str, Site] = {}

    def add(self, bleed: Bleed, labels: torch.Tensor) -> None:
        """Fill the voxels of one bleed; `labels` (x, y, z) is the anatomy as it now lies."""
        near = bleed.near(self.coarse).view([n // COARSE for n in self.used.shape])
        mask = repeat(near) & self.spaces.cavity & bleed.room(labels, self.used)
        flat = mask.view(-1).nonzero()[:, 0]
        points = unflatten(flat, self.used.shape)
        site = Site(self.spaces, points, self.up, self.displacement, labels.reshape(-1)[flat], flat)
        before = self.used.view(-1)[flat]
        bleed.limit = bleed.limit.to(points.device)
        share = bleed.fill(site, 1 - before, self.generator)
        value = bleed.value(site, share, self.generator)
        total = before + share
        old = self.hu.view(-1)[flat]
        self.hu.view(-1)[flat] = torch.where(
            share > 0, (old * before + value * share) / total.clamp_min(1e-6), old
        )
        self.used.view(-1)[flat] = total
        self.shares[bleed.name] = (flat, share)
        self.sites[bleed.name] = site


def draw_blood(
    anatomy: Anatomy,
    types: tuple[str, ...],
    rng: np.random.Generator,
    generator: torch.Generator,
    spaces: Spaces | None = None,
) -> Blood:
    """Draw blood of the given types into a head.

    Args:
        anatomy: the head; it is not changed. Only `labels`, `hu` and `tissue` are read, so that a real scan
            whose labels were found by registration serves as well.
        types: hemorrhage types in class order; empty for none.
        rng: random numbers.
        generator: random fields, on the CPU.
        spaces: `find_spaces(anatomy.labels)`; None measures the head, once for each label map.
    """
    types = tuple(types)
    blank = torch.zeros((len(types), *anatomy.shape), device=anatomy.device)
    if not types:
        return Blood(types, blank, torch.zeros(anatomy.shape, device=anatomy.device), anatomy)
    spaces = spaces if spaces is not None else spaces_of(anatomy)
    tilt, roll = np.deg2rad(rng.normal(0, 7)), np.deg2rad(rng.normal(0, 4))
    up = torch.tensor([np.sin(roll), np.cos(tilt) * np.cos(roll), np.sin(tilt)], dtype=torch.float32)
    bleeds = draw_bleeds(types, rng, spaces)
    drawing = Drawing(spaces, up.to(anatomy.device), generator)
    labels, hu = anatomy.labels.clone(), anatomy.hu.clone()
    velocity = torch.zeros_like(drawing.coarse.points)
    for bleed in bleeds:
        if bleed.name in ("edh", "sdh"):
            drawing.add(bleed, labels[spaces.box])
        moved = bleed.velocity(drawing.coarse)
        velocity = velocity if moved is None else velocity + moved
    shift = midline_shift(bleeds)
    if abs(shift) > 0.3:
        velocity = velocity + midline_velocity(drawing.coarse, shift)
    wider = sum(bleed.dilation for bleed in bleeds)
    if wider > 0.2:
        velocity = velocity + dilation_velocity(
            drawing.coarse, [n // COARSE for n in spaces.cavity.shape], min(wider, 5.0)
        )
    drawing.displacement = displace(spaces, drawing.coarse, velocity)
    if drawing.displacement is not None:
        move_tissue(spaces, drawing.displacement, labels, hu, anatomy.tissue)
    edema = torch.zeros(anatomy.shape, device=anatomy.device)
    now = labels[spaces.box]
    for bleed in bleeds:
        if bleed.name not in ("edh", "sdh"):
            drawing.add(bleed, now)
        if isinstance(bleed, Intraparenchymal):
            flat, _ = drawing.shares["iph"]
            share = bleed.edema(drawing.sites["iph"], generator)
            scatter(edema, spaces.box, flat, share)
            drop = float(rng.uniform(5, 12))
            part = hu[spaces.box].reshape(-1)[flat]
            scatter(hu, spaces.box, flat, part - drop * share)
        if isinstance(bleed, Epidural) and bleed.fracture:
            break_bone(bleed, spaces, labels, hu)
    shares = blank
    for row, name in enumerate(types):
        flat, share = drawing.shares[name]
        scatter(shares[row], spaces.box, flat, share)
    values = torch.zeros(anatomy.shape, device=anatomy.device)
    values[spaces.box] = drawing.hu
    truth = describe(bleeds, shift, drawing.displacement)
    return Blood(
        types, shares, values, replace(anatomy, labels=labels, hu=hu), truth, edema, drawing.displacement
    )


def break_bone(bleed: Epidural, spaces: Spaces, labels: torch.Tensor, hu: torch.Tensor) -> None:
    """Draw a fracture line into the bone around an epidural hematoma, in place."""
    whole = bleed.origin + torch.tensor(spaces.start, device=bleed.origin.device)
    reach = int(bleed.crack[1]) + 2
    low = [max(0, int(c) - reach) for c in whole.tolist()]
    box = tuple(slice(a, min(n, a + 2 * reach)) for a, n in zip(low, labels.shape, strict=True))
    flat = L.is_in(labels[box], L.SKULL).reshape(-1).nonzero()[:, 0]
    start = (
        torch.tensor(low, device=flat.device)[:, None]
        - torch.tensor(spaces.start, device=flat.device)[:, None]
    )
    points = unflatten(flat, labels[box].shape) + start
    share = bleed.crack_share(points)
    part = hu[box].reshape(-1)[flat]
    scatter(hu, box, flat, part + (40 - part) * 0.9 * share)


def describe(bleeds: list[Bleed], shift: float, displacement: torch.Tensor | None) -> dict[str, Any]:
    """Plain numbers for the truth file."""
    truth: dict[str, Any] = {
        "asked_ml": {bleed.name: round(bleed.volume, 3) for bleed in bleeds},
        "blood_hu": {bleed.name: bleed.summary()["hu"] for bleed in bleeds},
        "bleeds": {bleed.name: bleed.summary() for bleed in bleeds},
    }
    if displacement is not None:
        truth["midline_shift_mm"] = round(shift, 1)
        truth["largest_displacement_mm"] = round(float(length(displacement.flatten(1)).max()), 1)
    return truth
