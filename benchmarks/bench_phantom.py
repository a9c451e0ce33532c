"""Seconds per synthetic case, and how near its brain comes to a real one.

    python benchmarks/bench_phantom.py [--quick] [--device cpu] [--real-data DIR] [--out FILE.json]

The target on a CPU is 3 s for 256 x 256 x 32 voxels on 2 cores. With `--real-data` (a folder that holds
`ge_head_ct_dicom/`) statistics inside the skull follow: percentiles in HU, the residual above a Gaussian of
2 mm (noise and fine structure), how alike neighbouring slices are, and the slope of the power spectrum.
No peer is timed: no maintained package that makes head CT with hemorrhage without patient data was found.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pydicom
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import report, seconds
from tools.phantom import HeadPhantom, PhantomStream, write_phantoms

#: Bands of spatial frequency in 1/mm between which slopes of log power over log frequency are fitted.
BANDS = ((0.05, 0.3), (0.3, 0.6))


def speed(device: str, quick: bool) -> list[dict]:
    """Rows of seconds per case."""
    sizes = [((256, 256, 32), (0.9, 0.9, 5.0))]
    if not quick:
        sizes.append(((512, 512, 32), (0.45, 0.45, 5.0)))
    rows = []
    for shape, spacing in sizes:
        for kind in ("normal", "any"):
            index = iter(range(1000))

            def make(shape=shape, spacing=spacing, kind=kind, index=index) -> None:
                HeadPhantom(1, next(index), shape, spacing, kind, device).render()

            time = seconds(make, 3 if quick else 5, device)
            rows.append({"case": f"{kind} {'x'.join(map(str, shape))}", "s": time, "cases/min": 60 / time})
    stream = iter(PhantomStream(seed=1, device=device))
    time = seconds(lambda: next(stream), 3, device)
    rows.append({"case": "PhantomStream any 256x256x32", "s": time, "cases/min": 60 / time})
    with tempfile.TemporaryDirectory() as folder:
        index = iter(range(1000))
        time = seconds(lambda: write_phantoms(f"{folder}/{next(index)}", cases=1, device=device), 3, device)
    rows.append({"case": "write_phantoms iph_ivh 256x256x32", "s": time, "cases/min": 60 / time})
    return rows


def inside_skull(hu: np.ndarray, spacing: float) -> np.ndarray:
    """Mask well inside the bone, in slices that hold much brain."""
    steps = round(8 / spacing)
    mask = np.zeros(hu.shape, bool)
    for k in range(hu.shape[2]):
        ring = ndimage.binary_closing(np.pad(hu[:, :, k] > 200, 2 * steps), iterations=steps)
        ring = ring[2 * steps : -2 * steps, 2 * steps : -2 * steps]
        hole = ndimage.binary_erosion(ndimage.binary_fill_holes(ring) & ~ring, iterations=round(4 / spacing))
        parts, count = ndimage.label(hole)
        if count:
            mask[:, :, k] = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    area = mask.sum((0, 1))
    return mask & (area > 0.6 * area.max())


def slopes(hu: np.ndarray, mask: np.ndarray, spacing: float) -> list[float]:
    """Slopes of log power over log frequency in the middle 64 mm of each slice."""
    n = int(64 / spacing)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(n, spacing)] * 2))
    window = np.hanning(n)[:, None] * np.hanning(n)
    edges = np.arange(0.025, 0.7, 0.05)
    spectra = []
    for k in np.flatnonzero(mask.any((0, 1))):
        i, j = (int(c - n / 2) for c in ndimage.center_of_mass(mask[:, :, k]))
        patch = hu[i : i + n, j : j + n, k]
        if patch.shape == (n, n) and mask[i : i + n, j : j + n, k].mean() > 0.98:
            power = np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2
            bands = zip(edges, edges + 0.05, strict=True)
            spectra.append([power[(frequency >= a) & (frequency < b)].mean() for a, b in bands])
    spectrum, center = np.mean(spectra, axis=0), edges + 0.025
    fits = []
    for low, high in BANDS:
        inside = (center >= low - 1e-9) & (center <= high + 1e-9)
        fits.append(float(np.polyfit(np.log(center[inside]), np.log(spectrum[inside]), 1)[0]))
    return fits


def dicom_slices(folder: Path) -> tuple[np.ndarray, float]:
    """HU (X, Y, Z) of a series as it was scanned, not resampled for its tilt, and its pixel size in mm."""
    series = sorted(
        map(pydicom.dcmread, folder.glob("*.dcm")), key=lambda d: float(d.ImagePositionPatient[2])
    )
    hu = [d.pixel_array.T * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in series]
    return np.stack(hu, -1), float(series[0].PixelSpacing[0])


def likeness(name: str, hu: np.ndarray, spacing: float) -> dict:
    """One row of statistics of a volume (X, Y, Z) with square pixels of `spacing` mm."""
    mask = inside_skull(hu, spacing)
    low, median, high = np.percentile(hu[mask], [10, 50, 90])
    weight = ndimage.gaussian_filter(mask.astype(float), (2 / spacing, 2 / spacing, 0))
    smooth = ndimage.gaussian_filter(np.where(mask, hu, 0), (2 / spacing, 2 / spacing, 0)) / weight.clip(1e-3)
    residual = hu - smooth
    both = mask[:, :, 1:] & mask[:, :, :-1]
    alike = [np.corrcoef(a[:, :, 1:][both], a[:, :, :-1][both])[0, 1] for a in (hu, residual)]
    first, second = slopes(hu, mask, spacing)
    return {
        "scan": name,
        "median": median,
        "10-90 %": high - low,
        "residual sd": residual[mask].std(),
        "next slice r": alike[0],
        "residual r": alike[1],
        f"slope {BANDS[0]}": first,
        f"slope {BANDS[1]}": second,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--real-data", type=Path)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    report("phantom", speed(arguments.device, arguments.quick), arguments.out)
    if arguments.real_data:
        hu, spacing = dicom_slices(arguments.real_data / "ge_head_ct_dicom")
        rows = [likeness("GE (real, 4 and 7 mm)", hu, spacing)]
        for index in (3, 5) if arguments.quick else (3, 4, 5, 6, 8):
            case = HeadPhantom(
                1, index, (448, 448, 32), (0.488, 0.488, 5.0), "normal", arguments.device
            ).render()
            hu = case.image.as_tensor()[0].cpu().numpy().astype(np.float64)
            rows.append(likeness(f"synthetic {index}, age {case.truth['age']:.0f}", hu, 0.488))
        out = arguments.out and str(Path(arguments.out).with_suffix("")) + "_likeness.json"
        report("phantom likeness", rows, out)


if __name__ == "__main__":
    main()
