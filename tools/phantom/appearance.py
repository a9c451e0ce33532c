"""Domain randomisation: how a scan looks, varied beyond what scanners do (`appearance="wide"`).

Shapes and labels stay as they are; only HU change. What a network sees in training then covers kernels,
doses, windows and picture formats that no model of a scanner would hit. Each effect is used in about a third
of the cases. Random numbers are drawn on the CPU.
"""

from __future__ import annotations

import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from tools.core.errors import InputError
from tools.phantom.fields import band_noise
from tools.phantom.scanner.closed_form import blur_slices

APPEARANCES = ("natural", "wide")

#: Level and width in HU, side in pixels and quality of pictures like those of CT-ICH 1.0.0.
JPEG_WINDOW, JPEG_SIDE = (40.0, 120.0), 650


def check_appearance(appearance: str) -> str:
    """Return `appearance`, or raise `InputError` if it is no known one."""
    if appearance not in APPEARANCES:
        raise InputError(f"appearance: expected one of {', '.join(APPEARANCES)}, found {appearance!r}")
    return appearance


def through_jpeg(
    hu: torch.Tensor, window: tuple[float, float] = JPEG_WINDOW, side: int = JPEG_SIDE, quality: int = 90
) -> torch.Tensor:
    """A volume written as 8-bit JPEG pictures of a window and read back.

    Args:
        hu: (X, Y, Z).
        window: level and width in HU; values beyond it are kept, because a picture shows no more than that
            they are beyond.
        side: pixels of the square pictures; slices are resized to them and back.
        quality: of the JPEG, 1 to 95.

    Returns:
        (X, Y, Z) float32 on the volume's device.
    """
    low, width = window[0] - window[1] / 2, window[1]
    grey = ((hu - low) / width * 255).clamp(0, 255)
    planes = grey.permute(2, 0, 1)[:, None]
    large = F.interpolate(planes, size=(side, side), mode="bicubic", align_corners=False, antialias=True)
    shown = large[:, 0].round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    back = np.empty_like(shown)
    for k, plane in enumerate(shown):
        stream = io.BytesIO()
        Image.fromarray(plane).save(stream, "JPEG", quality=quality)
        back[k] = np.asarray(Image.open(stream))
    planes = torch.as_tensor(back, device=hu.device).float()[:, None]
    small = F.interpolate(planes, size=hu.shape[:2], mode="bilinear", align_corners=False, antialias=True)
    read = low + small[:, 0].permute(1, 2, 0) * (width / 255)
    return torch.where((hu > low) & (hu < low + width), read, hu)


def _curve(hu: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Soft tissue through a random rising curve; air and bone stay."""
    knots = np.array([-40.0, 0.0, 20.0, 30.0, 40.0, 60.0, 90.0, 150.0])
    steps = np.diff(knots) * np.exp(rng.normal(0, 0.25, len(knots) - 1))
    steps *= (knots[-1] - knots[0]) / steps.sum()
    out = hu
    start = knots[0]
    for low, high, step in zip(knots, knots[1:], steps, strict=False):
        inside = (hu >= low) & (hu < high)
        out = torch.where(inside, start + (hu - low) * float(step / (high - low)), out)
        start += step
    return out


def _bias(shape: tuple[int, ...], size: float, generator: torch.Generator, device) -> torch.Tensor:
    """Smooth field of the given standard deviation over a volume."""
    coarse = torch.randn((1, 1, 4, 4, 3), generator=generator).to(device)
    field = F.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0, 0]
    return size * field


def widen(
    hu: torch.Tensor, spacing: tuple[float, ...], rng: np.random.Generator, generator: torch.Generator
) -> tuple[torch.Tensor, list[str]]:
    """Change the look of a scan at random.

    Args:
        hu: (X, Y, Z) scanned HU.
        spacing: mm.
        rng, generator: on the CPU.

    Returns:
        The new volume, whole numbers from -1024 to 3071, and the names of the effects used.
    """
    used: list[str] = []

    def has(name: str, share: float) -> bool:
        if rng.random() < share:
            used.append(name)
            return True
        return False

    out = hu
    if has("contrast", 0.5):
        out = _curve(out, rng)
    if has("stretch", 0.4):
        # More or less contrast about the brain's own grey.
        factor = float(np.exp(rng.normal(0, 0.25)))
        weight = ((150 - out) / 50).clamp(0, 1) * ((out + 80) / 40).clamp(0, 1)
        out = out + weight * (factor - 1) * (out - 30)
    if has("bias", 0.5):
        weight = ((200 - out) / 100).clamp(0, 1) * ((out + 300) / 100).clamp(0, 1)
        size = float(rng.uniform(1, 6))
        out = out + weight * _bias(tuple(out.shape), size, generator, out.device)
    if has("low resolution", 0.25):
        factor = float(rng.uniform(1.2, 2.5))
        small = [
            max(8, round(n * mm / (factor * 0.9))) for n, mm in zip(out.shape[:2], spacing, strict=False)
        ]
        planes = out.permute(2, 0, 1)[:, None]
        planes = F.interpolate(planes, size=small, mode="bilinear", align_corners=False, antialias=True)
        planes = F.interpolate(planes, size=tuple(out.shape[:2]), mode="bicubic", align_corners=False)
        out = planes[:, 0].permute(1, 2, 0)
    if has("blur", 0.3):
        sigma = float(rng.uniform(0.3, 1.3))
        out = blur_slices(out, (sigma / spacing[0], sigma / spacing[1]))
    if has("sharpen", 0.2):
        sigma = float(rng.uniform(0.6, 1.5))
        smooth = blur_slices(out, (sigma / spacing[0], sigma / spacing[1]))
        out = out + float(rng.uniform(0.3, 1.5)) * (out - smooth)
    if has("noise", 0.5):
        level, grain = float(rng.exponential(4.0)), float(rng.uniform(0.0, 1.2))
        noise = torch.randn(tuple(out.shape), generator=generator).to(out.device)
        noise = blur_slices(noise, (grain / spacing[0], grain / spacing[1]))
        out = out + level * noise / noise.std().clamp_min(1e-6)
    if has("texture", 0.3):
        field = band_noise((float(rng.uniform(4, 25)),), 48, 60.0, generator)[None].to(out.device)
        field = F.interpolate(field, size=tuple(out.shape), mode="trilinear", align_corners=True)[0, 0]
        weight = ((120 - out) / 60).clamp(0, 1) * ((out + 60) / 40).clamp(0, 1)
        out = out + weight * float(rng.uniform(0.5, 3.0)) * field
    if has("offset and gain", 0.6):
        out = (out + 1000) * float(rng.normal(1, 0.006)) - 1000 + float(rng.normal(0, 4.0))
    if has("jpeg", 0.35):
        level, width = JPEG_WINDOW[0] + float(rng.normal(0, 2)), JPEG_WINDOW[1] * float(rng.uniform(0.8, 1.3))
        out = through_jpeg(out, (level, width), JPEG_SIDE, int(rng.integers(40, 96)))
    return out.round().clamp(-1024, 3071), used
