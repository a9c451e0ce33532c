"""One synthetic head CT with the anatomy of a real person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tools.core.errors import InputError
from tools.core.tensors import voxel_ml
from tools.phantom.anatomy.anatomy import Anatomy
from tools.phantom.anatomy.blood import draw_blood
from tools.phantom.anatomy.maps import list_maps, read_map
from tools.phantom.anatomy.person import make_person
from tools.phantom.anatomy.prepare import PreparedMap, prepare
from tools.phantom.anatomy.render import paint_slices
from tools.phantom.appearance import widen
from tools.phantom.case import PhantomCase, finish_case
from tools.phantom.geometry import Pose, scan_affine
from tools.phantom.kinds import draw_types
from tools.phantom.scanner.acquisition import Acquisition, acquire_volume, draw_acquisition


@lru_cache(maxsize=32)
def prepared_map(path: Path) -> PreparedMap:
    """A map of a folder, prepared once per process."""
    return prepare(read_map(path))


@lru_cache(maxsize=2)
def person_of(paths: tuple[Path, ...], seed: int, person: int, asymmetry: float, device: str) -> Anatomy:
    """Person number `person` of a seed; the last two are kept."""
    state = np.random.SeedSequence([seed, person, 1])
    rng = np.random.default_rng(state)
    generator = torch.Generator().manual_seed(int(state.generate_state(1, np.uint64)[0]) >> 1)
    path = paths[int(rng.integers(len(paths)))]
    return make_person(prepared_map(path), rng, generator, asymmetry).to(device)


@dataclass(frozen=True)
class MapSource:
    """Label maps to make people from.

    Attributes:
        paths: files of the maps.
        per_person: how many cases in a row show the same person; every one has its own pose, blood and scan.
    """

    paths: tuple[Path, ...]
    per_person: int = 1


def map_source(
    anatomy: str | Path, maps: str | Sequence[str] | None = None, per_person: int = 1
) -> MapSource | None:
    """The maps that these arguments of `HeadPhantom` mean; None for `procedural`.

    Raises:
        InputError: no such folder or maps, or arguments that do not fit together.
    """
    if not isinstance(per_person, Integral) or isinstance(per_person, bool) or per_person < 1:
        raise InputError(f"per_person: expected a whole number from 1, found {per_person!r}")
    if str(anatomy) == "procedural":
        if maps is not None:
            raise InputError(f"maps: expected only where anatomy is a folder of label maps, found {maps!r}")
        return None
    names = [name.strip() for name in maps.split(",")] if isinstance(maps, str) else maps
    return MapSource(tuple(list_maps(anatomy, names)), int(per_person))


def draw_pose(rng: np.random.Generator, anatomy: Anatomy, height: float) -> Pose:
    """Random pose; the vertex lies just inside a scan that is too low to hold the whole head."""
    top = float(anatomy.truth["vertex_mm"])
    # The upper border of the scan is a little above the vertex, or a little below it.
    base = height / 2 - top - float(rng.uniform(-4, 14))
    middle = -20.0  # of a scan that is higher than the head
    return Pose(
        yaw=float(np.clip(rng.normal(0, 5), -20, 20)),
        roll=float(np.clip(rng.normal(0, 3.5), -20, 20)),
        pitch=float(np.clip(rng.normal(-4, 8), -25, 20)),
        shift=(
            float(rng.normal(0, 5)),
            float(rng.normal(0, 6)),
            min(base, -middle) if height > 200 else base,
        ),
    )


def quiet() -> Acquisition:
    """A scan without noise, artefacts and objects."""
    return Acquisition(glare=0.0, noise=0.0, hardening=0.0)


def render_anatomy(
    source: MapSource, seed: int, index: int, shape: tuple[int, ...], spacing: tuple[float, ...], kind: str,
    device: torch.device, pose: Pose | None, tilt: float, asymmetry: float, noise: bool,
    appearance: str, thickness: float,
) -> PhantomCase:  # fmt: skip
    """Compute a case; arguments are those of `HeadPhantom`."""
    anatomy = person_of(source.paths, seed, index // source.per_person, asymmetry, str(device))
    state = np.random.SeedSequence([seed, index])
    rng = np.random.default_rng(state)
    generator = torch.Generator().manual_seed(int(state.generate_state(1, np.uint64)[0]) >> 1)
    types = draw_types(kind, index, rng)
    acquisition = draw_acquisition(rng, thickness) if noise else quiet()
    # Interpolation from the grid of the head has blurred as much as focus and detector would.
    acquisition = replace(acquisition, aperture=0.0)
    pose = pose or draw_pose(rng, anatomy, shape[2] * spacing[2])
    affine = scan_affine(shape, spacing, tilt)
    blood = draw_blood(anatomy, types, rng, generator)
    volumes = paint_slices(blood, pose, affine, shape, thickness)
    image = acquire_volume(volumes.hu, spacing, acquisition, generator)
    effects: list[str] = []
    if appearance == "wide":
        image, effects = widen(image, spacing, rng, generator)
    ml = voxel_ml(affine)
    truth: dict[str, Any] = {
        "seed": seed,
        "index": index,
        "kind": kind,
        "types": list(blood.types),
        "plane": pose.plane(),
        "pose": pose.as_dict(),
        "tilt": tilt,
        "age": round(anatomy.age, 1),
        "person": index // source.per_person,
        **anatomy.truth,
        **blood.truth,
        "exact_ml": {
            name: float(share.sum()) * ml for name, share in zip(blood.types, volumes.shares, strict=True)
        },
        "scanner": acquisition.summary(),
        "appearance": effects,
    }
    return finish_case(volumes, image, blood.types, affine, truth)
