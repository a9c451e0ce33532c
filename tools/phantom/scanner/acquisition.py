"""The scanner of any volume in HU: rendered anatomy, or a mean of real heads.

It needs nothing but the volume: where the bone is decides the rim inside the skull, the streaks and where
noise is strong. Every random number is drawn on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from tools.phantom.scanner.hardening import calibrated, hardening_error, materials
from tools.phantom.scanner.kernels import Kernel
from tools.phantom.scanner.movement import helical, shifted
from tools.phantom.scanner.noise import frequencies, quantum_noise, ray_variance
from tools.phantom.scanner.objects import add_metal, add_rest, head_box, skin_points
from tools.phantom.scanner.projections import project, spread

#: Pixels by which a slice is continued before waves are filtered, so that its edges do not meet.
MARGIN = 8


@dataclass(frozen=True)
class Acquisition:
    """Numbers of one scan; None or 0 leaves an effect out."""

    kernel: Kernel = field(default_factory=lambda: Kernel(0.29, 2.18))
    aperture: float = 0.3  # standard deviation in mm of the blur of focus and detector
    glare: float = 0.01  # share of the signal spread over `glare_mm`
    glare_mm: float = 2.5
    noise: float = 4.0  # HU in the middle of an average head
    hardening: float = 0.4  # 0 corrected, 1 not
    modulation: float = 0.4  # how far the tube current follows the head's density from slice to slice, 0 to 1
    helical: float = 0.0  # share of a slice
    turn: float = 1.9  # radians from slice to slice
    motion: tuple[float, float] = (0.0, 0.0)  # mm within a slice
    moved: tuple[float, float] = (0.0, 0.0)  # first and last moved slice as shares of the height
    offset: float = 0.0
    gain: float = 1.0
    rest: str = "none"
    rest_gap: float = 6.0
    rest_width: float = 95.0
    rest_wall: float = 2.0
    rest_hu: float = 0.0
    electrodes: tuple[tuple[float, float], ...] = ()  # angle and share of the height
    clip: tuple[float, float, float, float] | None = None  # place as shares of the head's box, and angle
    circle: bool = False  # only the inscribed circle is reconstructed
    names: tuple[str, ...] = ()

    def summary(self) -> dict[str, object]:
        """Plain numbers for a truth file."""
        plain = {k: round(float(getattr(self, k)), 4) for k in ("noise", "hardening", "offset", "gain")}
        return plain | {
            "cutoff": round(self.kernel.cutoff, 4),
            "rest": self.rest,
            "effects": list(self.names),
        }


def draw_acquisition(rng: np.random.Generator, thickness: float) -> Acquisition:
    """Draw a scan of slices of `thickness` mm; thinner ones are noisier.

    Kernels lie between and around the two measured soft ones; noise is that of the measured scans (3.6 and
    3.9 HU at about 5 mm) up to a low dose; hardening is from corrected to 1.6 times the model of the
    uncorrected kernel, which is too faint next to bone. That limit and those of glare were set by hand.
    """
    names = []

    def has(name: str, share: float) -> bool:
        there = bool(rng.random() < share)
        if there:
            names.append(name)
        return there

    kernel = Kernel(cutoff=float(rng.uniform(0.25, 0.4)), order=float(rng.uniform(1.8, 2.5)))
    noise = float(rng.uniform(2.4, 5.4) * np.clip(5.0 / thickness, 0.6, 9.0) ** 0.5)
    hardening = float(rng.uniform(0.0, 0.25) if rng.random() < 0.35 else rng.uniform(0.3, 1.6))
    motion = moved = (0.0, 0.0)
    if has("motion", 0.1):
        angle, size, start = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 2.5), rng.uniform(0, 0.9)
        motion = (float(size * np.cos(angle)), float(size * np.sin(angle)))
        moved = (float(start), float(start + rng.uniform(0.03, 0.3)))
    spiral = float(rng.uniform(0.03, 0.12)) if has("helical", 0.4) else 0.0
    clip = None
    if has("clip", 0.025):
        clip = (
            float(rng.uniform(0.38, 0.62)),
            float(rng.uniform(0.45, 0.7)),
            float(rng.uniform(0.3, 0.6)),
            float(rng.uniform(0, np.pi)),
        )
    electrodes: tuple[tuple[float, float], ...] = ()
    if has("electrodes", 0.03):
        count = int(rng.integers(3, 12))
        electrodes = tuple(
            (float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.4, 0.95))) for _ in range(count)
        )
    return Acquisition(
        kernel=kernel,
        aperture=float(rng.uniform(0.25, 0.45)),
        glare=float(rng.uniform(0.0, 0.07)),
        glare_mm=float(rng.uniform(1.5, 3.0)),
        noise=noise,
        hardening=hardening,
        modulation=float(rng.uniform(0.0, 0.8)),
        helical=spiral,
        turn=float(rng.uniform(0.3, 2.8)),
        motion=motion,
        moved=moved,
        offset=float(rng.normal(0, 1.2)),
        gain=float(rng.normal(1, 0.002)),
        rest=str(rng.choice(["cradle", "bars", "table", "none"], p=[0.4, 0.2, 0.15, 0.25])),
        rest_gap=float(rng.uniform(1, 12)),
        rest_width=float(rng.uniform(88, 125)),
        rest_wall=float(rng.uniform(1.0, 3.0)),
        rest_hu=float(rng.uniform(-250, 450)),
        electrodes=electrodes,
        clip=clip,
        circle=bool(rng.random() < 0.4),
        names=tuple(names),
    )


def add_objects(hu: torch.Tensor, spacing: tuple[float, ...], scan: Acquisition) -> torch.Tensor:
    """The volume with rest, electrodes and clip."""
    box = head_box(hu)
    points = skin_points(hu, *zip(*scan.electrodes, strict=True)) if scan.electrodes else []
    out = add_rest(hu, spacing, scan.rest, scan.rest_gap, scan.rest_width, scan.rest_wall, scan.rest_hu)
    for point in points:
        out = add_metal(out, spacing, point, point, 2.5, 2800.0)
    if scan.clip is not None:
        *place, angle = scan.clip
        middle = np.array([low + share * (high - low) for (low, high), share in zip(box, place, strict=True)])
        reach = 3.5 * np.array([np.cos(angle) / spacing[0], np.sin(angle) / spacing[1], 0.0])
        out = add_metal(out, spacing, middle - reach, middle + reach, 1.1, 6000.0)
    return out


def filtered(hu: torch.Tensor, spacing: tuple[float, ...], scan: Acquisition) -> torch.Tensor:
    """The volume (X, Y, Z) through kernel, glare, helical scanning and motion."""
    planes = F.pad(hu.permute(2, 0, 1)[:, None], (MARGIN,) * 4, mode="replicate")[:, 0]
    shape = (planes.shape[1], planes.shape[2])
    fx, fy = frequencies(shape, spacing[:2], hu.device)
    square = fx**2 + fy**2

    def gaussian(sigma: float) -> torch.Tensor:
        return torch.exp(-2 * torch.pi**2 * sigma**2 * square)

    gain = scan.kernel(square.sqrt()) * gaussian(scan.aperture)
    gain = (1 - scan.glare) * gain + scan.glare * gaussian(scan.glare_mm)
    waves = torch.fft.rfft2(planes) * gain
    if scan.helical:
        waves = helical(waves, fx, fy, scan.helical, scan.turn)
    if any(scan.motion):
        first, last = (round(share * (len(waves) - 1)) for share in scan.moved)
        waves[first : last + 1] = shifted(waves[first : last + 1], fx, fy, scan.motion)
    out = torch.fft.irfft2(waves, s=shape)[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    return out.permute(1, 2, 0)


def acquire_volume(
    hu: torch.Tensor, spacing: tuple[float, float, float], scan: Acquisition, generator: torch.Generator
) -> torch.Tensor:
    """Scan a volume.

    Args:
        hu: (X, Y, Z) float32, mean HU of each voxel, RAS; air is -1000.
        spacing: mm.
        scan: see `draw_acquisition`.
        generator: of the noise, on the CPU.

    Returns:
        (X, Y, Z) float32 whole numbers from -1024 to 3071 on the volume's device.
    """
    white = torch.randn((hu.shape[2], hu.shape[0], hu.shape[1]), generator=generator).to(hu.device)
    hu = add_objects(hu, spacing, scan)
    water_map, bone_map, pixel = materials(hu, spacing)
    water, bone = project(water_map, pixel), project(bone_map, pixel)
    out = filtered(hu, spacing, scan)
    if scan.hardening:
        error = calibrated(hardening_error(water, bone, bone_map, pixel), water_map, bone_map)
        out = out + spread(scan.hardening * error, hu.shape[:2])
    if scan.noise:
        out = out + scan.noise * quantum_noise(
            white, ray_variance(water, bone, scan.modulation), spacing[:2], scan.kernel
        )
    out = (out + 1000) * scan.gain - 1000 + scan.offset
    if scan.circle:
        i, j = (torch.arange(n, device=hu.device) - (n - 1) / 2 for n in hu.shape[:2])
        radius = min(n * mm for n, mm in zip(hu.shape[:2], spacing[:2], strict=True)) / 2
        away = (i[:, None] * spacing[0]) ** 2 + (j[None] * spacing[1]) ** 2 > radius**2
        out = torch.where(away[..., None], -1024.0, out)
    return out.round().clamp(-1024, 3071)
