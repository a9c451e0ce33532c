"""One synthetic head CT: anatomy, blood and scanner put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from tools.errors import InputError
from tools.phantom.bleed import Bleed
from tools.phantom.brain import Brain
from tools.phantom.confounders import Confounders
from tools.phantom.cranium import Cranium
from tools.phantom.fields import Lattice, as_distance, band_noise, mix_mirror
from tools.phantom.geometry import Pose, head_points, scan_affine
from tools.phantom.kinds import CLASSES, check_kind, draw_types
from tools.phantom.layers import Epidural, Subdural
from tools.phantom.masses import Intraparenchymal, Intraventricular, Subarachnoid
from tools.phantom.person import draw_person
from tools.phantom.render import Scene
from tools.phantom.scanner import Scanner, acquire, draw_scanner, metal_streaks, table_share

#: Wavelengths in mm of the noise fields fine, mid, long and of the displacement.
WAVELENGTHS = (10.0, 25.0, 60.0, 120.0, 120.0, 120.0)

#: Distance in mm between points through a slice's thickness, at most.
SUBSLICE = 1.8

#: Points evaluated at once on a CPU: temporaries stay in its cache.
CHUNK = 300_000


@dataclass
class Plan:
    """All that is decided before a voxel is computed."""

    types: tuple[str, ...]
    pose: Pose
    affine: np.ndarray
    scene: Scene
    scanner: Scanner
    generator: torch.Generator
    truth: dict[str, Any]


@dataclass
class Volumes:
    """Exact volumes (X, Y, Z) before the scan; `shares` is (types, X, Y, Z)."""

    hu: torch.Tensor
    head: torch.Tensor
    brain: torch.Tensor
    ventricle: torch.Tensor
    depth: torch.Tensor
    band: torch.Tensor
    shares: torch.Tensor


@dataclass
class PhantomCase:
    """A rendered case; every volume is a MetaTensor (1, X, Y, Z) with the same affine.

    image float32 HU (whole numbers); classes, brain and ventricles uint8; truth plain numbers.
    """

    image: MetaTensor
    classes: MetaTensor
    brain: MetaTensor
    ventricles: MetaTensor
    truth: dict[str, Any]

    @property
    def affine(self) -> torch.Tensor:
        """4x4 float64, voxel to RAS+ mm."""
        return self.image.affine

    def label(self, lesion: Sequence[str]) -> MetaTensor:
        """uint8 0/1 mask of the named hemorrhage types."""
        values = torch.tensor(
            [CLASSES[name] for name in lesion], device=self.classes.device, dtype=torch.uint8
        )
        mask = torch.isin(self.classes.as_tensor(), values).to(torch.uint8)
        return MetaTensor(mask, affine=self.affine)


def check_size(shape: Sequence[int], spacing: Sequence[float]) -> None:
    """Raise `InputError` unless the scan has a usable size."""
    whole = isinstance(shape, Sequence) and len(shape) == 3 and all(isinstance(n, Integral) for n in shape)
    if not whole or min(shape) < 8:
        raise InputError(f"shape: expected three whole numbers from 8, found {shape!r}")
    real = isinstance(spacing, Sequence) and len(spacing) == 3 and all(isinstance(mm, Real) for mm in spacing)
    if not real or not all(0.1 <= mm <= 20 for mm in spacing):
        raise InputError(f"spacing: expected three sizes of 0.1 to 20 mm, found {spacing!r}")


class HeadPhantom:
    """A synthetic head, determined by its seed and index.

    Args:
        seed, index: the pair chooses everything that is random.
        shape: voxels along right, anterior, superior.
        spacing: voxel size in mm.
        kind: see `tools.phantom.kinds`.
        device: where the volume is computed; random numbers are always drawn on the CPU.
        pose: fixed pose; None draws one.
        tilt: gantry tilt in degrees; the affine is then a shear, as in a tilted DICOM series.
        asymmetry: 0 makes the undeformed head its own mirror image, 1 is natural.
        noise: False leaves out noise, artefacts, table and metal.

    Raises:
        InputError: unknown kind, impossible shape or spacing.

    Example:
        >>> case = HeadPhantom(seed=3, shape=(64, 64, 16), spacing=(3.6, 3.6, 10.0)).render()
        >>> case.image.shape
        torch.Size([1, 64, 64, 16])
    """

    def __init__(
        self,
        seed: int = 0,
        index: int = 0,
        shape: Sequence[int] = (256, 256, 32),
        spacing: Sequence[float] = (0.9, 0.9, 5.0),
        kind: str = "any",
        device: torch.device | str = "cpu",
        pose: Pose | None = None,
        tilt: float = 0.0,
        asymmetry: float = 1.0,
        noise: bool = True,
    ) -> None:
        check_size(shape, spacing)
        self.seed, self.index, self.kind = int(seed), int(index), check_kind(kind)
        self.shape, self.spacing = tuple(int(n) for n in shape), tuple(float(mm) for mm in spacing)
        self.device = torch.device(device)
        self.pose, self.tilt, self.asymmetry, self.noise = pose, float(tilt), float(asymmetry), bool(noise)

    def draw_bleeds(self, types: tuple[str, ...], rng: np.random.Generator, texture: Lattice) -> list[Bleed]:
        """The bleeds in class order; an IVH beside an IPH starts where the IPH breaks through."""
        makers = {
            "edh": lambda: Epidural(rng),
            "sdh": lambda: Subdural(rng),
            "iph": lambda: Intraparenchymal(rng, texture, "ivh" in types),
            "sah": lambda: Subarachnoid(rng),
        }
        bleeds = {name: makers[name]() for name in types if name != "ivh"}
        if "ivh" in types:
            iph = bleeds.get("iph")
            near = iph is not None and iph.place in ("putamen", "thalamus")
            bleeds["ivh"] = Intraventricular(rng, iph.center * (0.6, 1, 1) if near else None)
        # Layers displace the brain, so they come first; blood that fills spaces comes last.
        return [bleeds[name] for name in ("edh", "sdh", "ivh", "iph", "sah") if name in bleeds]

    def draw_pose(self, rng: np.random.Generator) -> Pose:
        """Random pose; along z the vertex is kept inside a scan that is high enough to hold a head."""
        base = float(np.clip(self.shape[2] * self.spacing[2] / 2 - 92, -13, 13))
        shift = np.clip(rng.normal((0, 0, base), (6, 6, 4)), -20, 20)
        return Pose(
            yaw=float(np.clip(rng.normal(0, 6), -20, 20)),
            roll=float(np.clip(rng.normal(0, 4), -20, 20)),
            pitch=float(np.clip(rng.normal(0, 6), -15, 15)),
            shift=tuple(shift.tolist()),
        )

    def plan(self) -> Plan:
        """Draw everything random and calibrate the bleeds."""
        state = np.random.SeedSequence([self.seed, self.index])
        rng = np.random.default_rng(state)
        generator = torch.Generator().manual_seed(int(state.generate_state(1, np.uint64)[0]) >> 1)
        types = draw_types(self.kind, self.index, rng)
        person = draw_person(rng, self.asymmetry)
        pose = self.pose or self.draw_pose(rng)
        affine = scan_affine(self.shape, self.spacing, self.tilt)
        confounders = Confounders(rng, person.age, self.asymmetry)
        scanner = draw_scanner(rng, self.spacing[2])
        noise = mix_mirror(band_noise(WAVELENGTHS, 56, 112.0, generator), self.asymmetry, odd=(3,))
        noise = Lattice(noise.to(self.device), 112.0)
        folds = mix_mirror(band_noise((30.0, 17.0), 64, 76.0, generator), self.asymmetry)
        folds = Lattice(as_distance(folds, 2 * 76.0 / 63).to(self.device), 76.0)
        bleeds = self.draw_bleeds(types, rng, noise)
        swelling = float(np.clip(sum(b.volume for b in bleeds) / 150, 0, 0.8) * (1 - 0.5 * person.atrophy))
        wide = float(rng.uniform(1.1, 1.7)) if "ivh" in types else 1.0
        brain = Brain(person, folds, swelling, wide)
        up = tuple((np.linalg.inv(pose.matrix[:3, :3]) @ (0, 1, 0)).tolist())
        scene = Scene(person, noise, brain, Cranium(person), confounders, bleeds, up)
        scene.calibrate(float(np.prod(person.scale)) / 1000, self.device)
        truth = {
            "seed": self.seed,
            "index": self.index,
            "kind": self.kind,
            "types": list(types),
            "plane": pose.plane(),
            "pose": pose.as_dict(),
            "tilt": self.tilt,
            "age": round(person.age, 1),
            "sex": str(rng.choice(["female", "male"])),
            "confounders": confounders.names,
            "blood_hu": {bleed.name: round(bleed.hu, 1) for bleed in bleeds},
            "scanner": scanner.summary(),
        }
        order = tuple(bleed.name for bleed in bleeds)
        return Plan(order, pose, affine, scene, scanner, generator, truth)

    def voxel_to_head(self, plan: Plan) -> np.ndarray:
        """4x4 matrix from voxel indices to normalised head coordinates."""
        normal = np.diag([*(1 / np.asarray(plan.scene.person.scale)), 1.0])
        return normal @ np.linalg.inv(plan.pose.matrix) @ plan.affine

    def paint_slices(self, plan: Plan) -> Volumes:
        """Evaluate the scene over all slices, some at a time."""
        matrix = self.voxel_to_head(plan)
        nx, ny, nz = self.shape
        sub = max(1, int(np.ceil(self.spacing[2] / SUBSLICE)))
        count = nz if self.device.type != "cpu" else max(1, CHUNK // (nx * ny * sub))
        h = max(self.spacing[0], self.spacing[1])
        parts = []
        for start in range(0, nz, count):
            slices = range(start, min(start + count, nz))
            points = head_points(matrix, self.shape, slices, sub, self.device).flatten(1)
            values = plan.scene(*points, h)
            parts.append(values.view(values.shape[0], nx, ny, len(slices), sub).mean(-1))
        hu, head, brain, ventricle, depth, band, *shares = torch.cat(parts, -1)
        shares = torch.stack(shares) if shares else hu.new_zeros((0, *self.shape))
        return Volumes(hu, head, brain, ventricle, depth, band, shares)

    def scan(self, plan: Plan, volumes: Volumes) -> torch.Tensor:
        """Put the head on a table and scan it."""
        affine = torch.as_tensor(plan.affine, dtype=torch.float32, device=self.device)
        nx, ny, nz = self.shape
        hu = volumes.hu
        i, j = (torch.arange(n, dtype=torch.float32, device=self.device) for n in (nx, ny))
        wx = (affine[0, 0] * i + affine[0, 3])[:, None].expand(nx, ny)
        wy = (affine[1, 1] * j + affine[1, 3])[None].expand(nx, ny)
        if self.noise:
            occupied = (volumes.head.amax((0, 2)) > 0.5).to(torch.uint8).argmax()
            table = table_share((wx, wy, wx), wy[0, occupied], plan.scanner, max(self.spacing[:2]))
            air = (1 - volumes.head)[...] * table[..., None]
            hu = hu + (plan.scanner.table_hu + 1000) * air
            if plan.scene.confounders.metal is not None:
                p = plan.scene.person.scale
                local = np.append(np.asarray(plan.scene.confounders.metal) * p, 1)
                voxel = np.linalg.inv(plan.affine) @ plan.pose.matrix @ local
                k = torch.arange(nz, dtype=torch.float32, device=self.device)
                offsets = [
                    ((t - float(c)) * mm).view(shape)
                    for t, c, mm, shape in zip(
                        (i, j, k), voxel, self.spacing, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=False
                    )
                ]
                hu = hu + metal_streaks(*offsets, self.spacing)
        white = torch.randn((nz, nx, ny), generator=plan.generator).to(self.device)
        lines = torch.randn((nz, 1, ny), generator=plan.generator).to(self.device)
        return acquire(hu, volumes.depth, volumes.band, plan.scanner, self.spacing, white, lines, self.noise)

    def render(self) -> PhantomCase:
        """Compute the case."""
        plan = self.plan()
        volumes = self.paint_slices(plan)
        image = self.scan(plan, volumes)
        shares = volumes.shares
        blood = shares.sum(0) > 0.5
        values = torch.tensor([CLASSES[name] for name in plan.types], dtype=torch.uint8, device=self.device)
        classes = torch.zeros_like(blood, dtype=torch.uint8)
        if plan.types:
            classes = torch.where(blood, values[shares.argmax(0)], classes)
        brain = (volumes.brain > 0.5) | blood
        ventricles = (volumes.ventricle > 0.5) | (classes == CLASSES["ivh"])

        def wrap(volume: torch.Tensor) -> MetaTensor:
            return MetaTensor(volume[None], affine=torch.as_tensor(plan.affine))

        counts = torch.bincount(classes.flatten().long(), minlength=6).tolist()
        ml = float(np.prod(self.spacing)) / 1000
        truth = plan.truth | {"volume_ml": {name: counts[value] * ml for name, value in CLASSES.items()}}
        truth |= {"brain_ml": int(brain.sum()) * ml, "ventricles_ml": int(ventricles.sum()) * ml}
        return PhantomCase(
            wrap(image), wrap(classes), wrap(brain.to(torch.uint8)), wrap(ventricles.to(torch.uint8)), truth
        )
