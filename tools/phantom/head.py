"""One synthetic head CT: anatomy, blood and scanner put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from tools.errors import InputError
from tools.phantom.geometry import Pose, head_points, scan_affine
from tools.phantom.kinds import CLASSES, check_kind, draw_types


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
    if len(shape) != 3 or any(int(n) != n or n < 8 for n in shape):
        raise InputError(f"shape: expected three whole numbers from 8, found {tuple(shape)}")
    if len(spacing) != 3 or any(not 0.1 <= mm <= 20 for mm in spacing):
        raise InputError(f"spacing: expected three sizes of 0.1 to 20 mm, found {tuple(spacing)}")


class HeadPhantom:
    """A synthetic head, determined by its seed and index.

    Args:
        seed, index: the pair chooses everything that is random.
        shape: voxels along right, anterior, superior.
        spacing: voxel size in mm.
        kind: see `tools.phantom.kinds`.
        device: where the volume is computed; random numbers are always drawn on the CPU.

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
    ) -> None:
        check_size(shape, spacing)
        self.seed, self.index, self.kind = int(seed), int(index), check_kind(kind)
        self.shape, self.spacing = tuple(int(n) for n in shape), tuple(float(mm) for mm in spacing)
        self.device = torch.device(device)

    def render(self) -> PhantomCase:
        """Compute the case."""
        state = np.random.SeedSequence([self.seed, self.index])
        rng = np.random.default_rng(state)
        generator = torch.Generator().manual_seed(int(state.generate_state(1, np.uint64)[0] >> 1))
        types = draw_types(self.kind, self.index, rng)
        pose = Pose(
            yaw=float(np.clip(rng.normal(0, 7), -20, 20)),
            roll=float(np.clip(rng.normal(0, 5), -20, 20)),
            pitch=float(np.clip(rng.normal(0, 6), -15, 15)),
            shift=tuple(np.clip(rng.normal(0, 6, 3), -20, 20).tolist()),
        )
        affine = scan_affine(self.shape, self.spacing)
        points = head_points(
            np.linalg.inv(pose.matrix) @ affine, self.shape, range(self.shape[2]), 1, self.device
        )
        x, y, z = points.squeeze(-1)

        noise = torch.randn((3, 1, 20, 20, 16), generator=generator).to(self.device)

        def wobble(channel: int, scale: float) -> torch.Tensor:
            grid = torch.stack((z, y, x), -1)[None] / scale
            return torch.nn.functional.grid_sample(
                noise[channel : channel + 1], grid, align_corners=False, padding_mode="reflection"
            )[0, 0]

        def ellipsoid(center, axes):
            c, a = center, axes
            r = (((x - c[0]) / a[0]) ** 2 + ((y - c[1]) / a[1]) ** 2 + ((z - c[2]) / a[2]) ** 2).sqrt()
            return (r - 1) * min(a)

        size = rng.uniform(0.93, 1.06)
        a, b, c = 67 * size, 83 * size, 70 * size
        width = a * (1 - 0.12 * y / b)
        brain = (((x / width) ** 2 + (y / b) ** 2 + (z / c) ** 2).sqrt() - 1) * a + wobble(0, 110)
        skull, scalp = brain - rng.uniform(5, 8), brain - rng.uniform(11, 15)
        hu = torch.full_like(x, -1000.0)
        hu = torch.where(scalp < 0, 20.0, hu)
        hu = torch.where(skull < 0, 1200.0, hu)
        cortex = wobble(1, 60).abs()
        tissue = torch.where(brain > -4, 36.0, 28.0) - 14 * (cortex < 0.12) * (brain > -18)
        hu = torch.where(brain < 0, tissue, hu)
        wide = rng.uniform(0.7, 1.4)
        side = x.abs()
        ventricle = torch.minimum(
            (
                ((side - 11 - 0.15 * (y - 5).abs()) / (7 * wide)) ** 2
                + ((y - 5) / 38) ** 2
                + ((z - 12) / 13) ** 2
            ).sqrt()
            - 1,
            ((x / (2.5 * wide)) ** 2 + ((y + 2) / 14) ** 2 + (z / 10) ** 2).sqrt() - 1,
        )
        ventricle = (ventricle < 0) & (brain < -5)
        hu = torch.where(ventricle, 8.0, hu)

        classes = torch.zeros_like(x, dtype=torch.uint8)
        inside = brain < -6
        fresh = rng.uniform(55, 75)
        for name in types:
            volume = float(np.exp(rng.uniform(np.log(1.0), np.log(80))))
            radius = (volume * 1000 * 3 / (4 * np.pi)) ** (1 / 3)
            sign = rng.choice([-1, 1])
            if name in ("edh", "sdh", "sah"):
                depth = -brain
                angle = ((x * sign > 15) & (((y / 60) ** 2 + (z / 50) ** 2) < rng.uniform(0.2, 1.0))).bool()
                layer = {"edh": (0.5, radius * 0.5 + 4), "sdh": (0.5, 6 + radius * 0.15), "sah": (2, 9)}[name]
                mask = (depth > layer[0]) & (depth < layer[1]) & angle
                mask = mask & (cortex < 0.2) if name == "sah" else mask
            elif name == "ivh":
                level = rng.uniform(-25, 20)
                mask = ventricle & (y < level)
                mask = mask if rng.random() < 0.7 else ventricle & (x * sign > 0)
            else:
                center = (sign * rng.uniform(22, 38), rng.uniform(-35, 30), rng.uniform(-5, 35))
                stretch = np.exp(rng.normal(0, 0.2, 3))
                stretch = stretch / stretch.prod() ** (1 / 3) * radius
                bump = 0.2 * radius * wobble(2, 40)
                blob = ellipsoid(center, stretch) + bump
                hu = torch.where((blob < rng.uniform(3, 8)) & inside & ~ventricle, 20.0, hu)
                mask = (blob < 0) & inside & ~ventricle
            mask = mask & (brain < 0) & (classes == 0)
            classes = torch.where(
                mask, torch.tensor(CLASSES[name], dtype=torch.uint8, device=self.device), classes
            )
            hu = torch.where(mask, torch.tensor(fresh, dtype=torch.float32, device=self.device), hu)

        grain = torch.randn(hu.shape, generator=generator).to(self.device)
        blurred = torch.nn.functional.avg_pool3d(
            hu[None, None], (3, 3, 1), 1, (1, 1, 0), count_include_pad=False
        )[0, 0]
        soft = torch.nn.functional.avg_pool3d(grain[None, None], (3, 3, 1), 1, (1, 1, 0))[0, 0]
        hu = (blurred + rng.uniform(6, 10) * soft).round().clamp(-1024, 3071)

        ml = float(np.prod(self.spacing)) / 1000
        counts = torch.bincount(classes.flatten().long(), minlength=6).tolist()
        truth = {
            "seed": self.seed,
            "index": self.index,
            "kind": self.kind,
            "plane": pose.plane(),
            "pose": pose.as_dict(),
            "volume_ml": {name: counts[value] * ml for name, value in CLASSES.items()},
        }

        def wrap(volume: torch.Tensor) -> MetaTensor:
            return MetaTensor(volume[None], affine=torch.as_tensor(affine))

        return PhantomCase(
            wrap(hu), wrap(classes), wrap((brain < 0).to(torch.uint8)), wrap(ventricle.to(torch.uint8)), truth
        )
