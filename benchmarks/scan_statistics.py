"""What benchmarks measure in a scan, real or synthetic: (X, Y, Z) HU with square pixels."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pydicom
from scipy import ndimage


def dicom_slices(folder: Path) -> tuple[np.ndarray, float]:
    """HU (X, Y, Z) of a series, not resampled for its tilt, X right, Y front; and its pixel in mm."""
    series = sorted(
        map(pydicom.dcmread, folder.glob("*.dcm")), key=lambda d: float(d.ImagePositionPatient[2])
    )
    hu = [d.pixel_array.T * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in series]
    return np.stack(hu, -1)[::-1, ::-1].copy(), float(series[0].PixelSpacing[0])


def cavity_depth(hu: np.ndarray, pixel: float) -> np.ndarray:
    """mm below the inner table (250 HU) in each slice's largest hole in bone; 0 elsewhere."""
    depth = np.zeros(hu.shape, np.float32)
    for k in range(hu.shape[2]):
        bone = hu[:, :, k] > 250
        steps = max(1, round(1 / pixel))
        parts, _ = ndimage.label(~ndimage.binary_dilation(bone, iterations=steps))
        size = np.bincount(parts.ravel())
        size[0] = 0
        size[np.unique([*parts[0], *parts[-1], *parts[:, 0], *parts[:, -1]])] = 0
        hole = parts == size.argmax()
        if size.max() * pixel**2 < 600 or np.mean(np.abs(hu[:, :, k][hole] - 100) < 160) < 0.9:
            continue
        hole = ndimage.binary_dilation(hole, iterations=steps) & ~bone
        depth[:, :, k] = ndimage.distance_transform_edt(hole) * pixel
    return depth


def smooth(values: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """Mean of the masked values about each voxel, slice by slice; sigma in pixels."""
    weight = ndimage.gaussian_filter(mask.astype(float), (sigma, sigma, 0))
    return ndimage.gaussian_filter(np.where(mask, values, 0), (sigma, sigma, 0)) / weight.clip(1e-3)


def spectra(
    volumes: list[np.ndarray], depth: np.ndarray, pixel: float, first: int = 0, last: int = 10**6, n: int = 48
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Power spectra from patches 5 mm inside the skull, without their slow trend.

    Returns:
        Frequencies in 1/mm; for each volume its power in HU² mm² there; last, the power of the first volume
        that is coherent with the last one.
    """
    y, x = np.mgrid[:n, :n].reshape(2, -1) / n
    trend, _ = np.linalg.qr(np.stack([np.ones(n * n), x, y, x * x, y * y, x * y], 1))
    window = np.hanning(n)[:, None] * np.hanning(n)
    power, cross, count = [0.0] * len(volumes), 0.0, 0
    for k in range(first, min(last, depth.shape[2])):
        for i in range(0, depth.shape[0] - n, n // 4):
            for j in range(0, depth.shape[1] - n, n // 4):
                box = (slice(i, i + n), slice(j, j + n), k)
                if depth[box].min() <= 5:
                    continue
                waves = []
                for volume in volumes:
                    patch = volume[box].ravel()
                    flat = (patch - trend @ (trend.T @ patch)).reshape(n, n)
                    waves.append(np.fft.fft2(flat * window))
                power = [p + np.abs(w) ** 2 for p, w in zip(power, waves, strict=True)]
                cross, count = cross + waves[0] * waves[-1].conj(), count + 1
    scale = pixel**2 / (window**2).sum() / max(count, 1)
    maps = [p * scale for p in power] + [np.abs(cross * scale) ** 2 / (power[-1] * scale)]
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(n, pixel)] * 2))
    edges = np.arange(0.01, 0.5 / pixel, 0.04)
    rings = [(frequency >= a) & (frequency < b) for a, b in itertools.pairwise(edges)]
    return edges[:-1] + 0.02, [np.array([m[ring].mean() for ring in rings]) for m in maps]


def zones(hu: np.ndarray, pixel: float, thickness: float, ventricles: np.ndarray) -> dict[str, float | str]:
    """HU by zone and volumes of fluid.

    Args:
        hu: (X, Y, Z).
        pixel, thickness: mm.
        ventricles: their mask.

    Returns:
        10th, 50th and 90th percentile of the rim (2-5 mm below the inner table), of the outer 5-15 mm, of
        what is deeper, and of the ventricles; fluid outside the ventricles as a share of what lies within 20
        mm of the bone (2 mm excepted), and mL of ventricle.
    """
    depth = cavity_depth(hu, pixel)
    mask = depth > 0
    even = smooth(hu, mask, 1.0 / pixel)
    fluid = (even < 18) & (depth > 2) & (depth < 20)
    core = ndimage.binary_erosion(ventricles, iterations=max(1, round(1 / pixel)))
    parts = {
        "rim": (depth > 2) & (depth < 5),
        "outer": (depth > 5) & (depth < 15),
        "deep": (depth > 15) & ~ventricles,
        "ventricle": core & (depth > 10),
    }
    row: dict[str, float | str] = {}
    for name, part in parts.items():
        values = hu[part]
        row[name] = (
            "/".join(f"{v:.0f}" for v in np.percentile(values, (10, 50, 90))) if values.size > 50 else ""
        )
    shell = (depth > 2) & (depth < 20)
    row["sulci %"] = 100 * float(fluid.sum()) / max(int(shell.sum()), 1)
    row["ventricles mL"] = float(ventricles.sum()) * pixel**2 * thickness / 1000
    return row
