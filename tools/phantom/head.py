"""One synthetic head CT: anatomy, blood and scanner put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tools.core.errors import InputError
from tools.phantom.acquisition import scan
from tools.phantom.anatomy.head import map_source, render_anatomy
from tools.phantom.appearance import check_appearance, widen
from tools.phantom.background import check_background, read_background, render_background
from tools.phantom.bleed import Bleed
from tools.phantom.brain import Brain
from tools.phantom.case import PhantomCase, Volumes, finish_case
from tools.phantom.confounders import Confounders
from tools.phantom.cranium import Cranium
from tools.phantom.fields import Lattice, as_distance, band_noise, mix_mirror
from tools.phantom.geometry import Pose, head_points, scan_affine
from tools.phantom.kinds import check_kind, draw_types
from tools.phantom.layers import Epidural, Subdural
from tools.phantom.masses import Intraparenchymal, Intraventricular, Subarachnoid
from tools.phantom.person import draw_person
from tools.phantom.render import Scene
from tools.phantom.scanner import Scanner, check_thickness, draw_scanner

#: Raised whenever the same seed gives another picture, so that old files are not taken for new ones.
PHANTOM_VERSION = 6

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
        anatomy: `procedural`, or a folder of label maps (see `tools.phantom.anatomy.maps`).
        maps: names of the maps to use; None uses all in the folder.
        per_person: with maps, how many cases in a row show the same person, each with its own pose, blood and
            scan: far cheaper than a new person each time.
        appearance: `natural`, or `wide`: contrast, noise, blur and more beyond what scanners do.
        background: a real scan without blood (NIfTI file, or folder of one DICOM series) to put blood into;
            the best of the label maps is moved onto it. The case has the scan's grid; shape, spacing, pose,
            tilt, asymmetry, noise, per_person and thickness are not used.
        thickness: mm of a slice; None takes the distance between slices. Thinner ones leave gaps that are
            never seen, thicker ones overlap.

    Raises:
        InputError: unknown kind, impossible shape, spacing or thickness, no such folder or maps.

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
        anatomy: str | Path = "procedural",
        maps: str | Sequence[str] | None = None,
        per_person: int = 1,
        appearance: str = "natural",
        background: str | Path | None = None,
        thickness: float | None = None,
    ) -> None:
        check_size(shape, spacing)
        self.thickness = check_thickness(thickness, spacing[2])
        self.appearance = check_appearance(appearance)
        self.source = map_source(anatomy, maps, per_person)
        self.background = check_background(background, self.source)
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
        scanner = draw_scanner(rng, self.thickness)
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
        sub = max(1, int(np.ceil(self.thickness / SUBSLICE)))
        span = self.thickness / self.spacing[2]
        count = nz if self.device.type != "cpu" else max(1, CHUNK // (nx * ny * sub))
        h = max(self.spacing[0], self.spacing[1])
        parts = []
        for start in range(0, nz, count):
            slices = range(start, min(start + count, nz))
            points = head_points(matrix, self.shape, slices, sub, self.device, span).flatten(1)
            values = plan.scene(*points, h)
            parts.append(values.view(values.shape[0], nx, ny, len(slices), sub).mean(-1))
        hu, head, brain, ventricle, depth, band, *shares = torch.cat(parts, -1)
        shares = torch.stack(shares) if shares else hu.new_zeros((0, *self.shape))
        return Volumes(hu, head, brain, ventricle, depth, band, shares)

    def metal(self, plan: Plan) -> np.ndarray | None:
        """Voxel indices of the clip, or None."""
        if plan.scene.confounders.metal is None:
            return None
        local = np.append(np.asarray(plan.scene.confounders.metal) * plan.scene.person.scale, 1)
        return (np.linalg.inv(plan.affine) @ plan.pose.matrix @ local)[:3]

    def render(self) -> PhantomCase:
        """Compute the case."""
        if self.background is not None:
            scan_ = read_background(self.background, self.source.paths)
            return render_background(
                scan_, self.seed, self.index, self.kind, self.device, appearance=self.appearance
            )
        if self.source is not None:
            return render_anatomy(
                self.source, self.seed, self.index, self.shape, self.spacing, self.kind, self.device,
                self.pose, self.tilt, self.asymmetry, self.noise, self.appearance, self.thickness,
            )  # fmt: skip
        plan = self.plan()
        volumes = self.paint_slices(plan)
        image = scan(
            volumes, plan.scanner, plan.affine, self.spacing, plan.generator, self.metal(plan), self.noise
        )
        truth = plan.truth
        if self.appearance == "wide":
            rng = np.random.default_rng([self.seed, self.index, 2])
            image, truth["appearance"] = widen(image, self.spacing, rng, plan.generator)
        return finish_case(volumes, image, plan.types, plan.affine, truth)
