"""The numbers of `tools.phantom.scanner`, measured on real scans, and how well the model gives them back.

    python benchmarks/measure_scanner.py REAL_DATA

REAL_DATA holds `toshiba_head_ct_dicom/ax_soft` and `ax_sharp` (two kernels of one head)
and `ge_head_ct_dicom`.

- Noise: both kernels hold the same noise, so its power in the soft one is what is coherent with the sharp
  one, in which noise drowns all anatomy above 0.2 per mm. f K(f)^2 is fitted to it, and to the GE scan above
  0.3 per mm.
- Level of noise: log variance of the sharp kernel against the mean of exp(path) over the views.
- Hardened beam: the soft kernel is corrected for it, the sharp one is not. Their difference is fitted by the
  reconstruction of what bone and water paths of the soft one lose.
- Rim: median HU by depth below the inner table, real and as the model scans the soft kernel's volume.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage, optimize

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import itertools

from benchmarks.common import report
from benchmarks.scan_statistics import cavity_depth, dicom_slices, smooth, spectra
from tools.phantom.scanner import Acquisition, acquire_volume
from tools.phantom.scanner.hardening import beside_bone, materials
from tools.phantom.scanner.kernels import KERNELS, Kernel
from tools.phantom.scanner.noise import ray_variance
from tools.phantom.scanner.projections import filtered_back_projection, project, spread

#: Depths below the inner table in mm, as edges of bins.
DEPTHS = (0.5, 1, 1.5, 2, 2.5, 3, 4, 6, 8, 10, 15, 20, 30, 60)

#: Slices of both scans from above the petrous ridges.
VAULT = 9


def fit_kernel(
    f: np.ndarray, power: np.ndarray, low: float, high: float, sharp: bool
) -> tuple[Kernel, float]:
    """Kernel whose f K(f)^2 fits the power between two frequencies, and the noise in HU it stands for."""
    inside = (f > low) & (f < high)

    def kernel(p: np.ndarray) -> Kernel:
        return Kernel(*np.exp(p[1:3]).tolist(), boost=float(p[3]) if sharp else 0.0)

    def model(p: np.ndarray, at: np.ndarray) -> np.ndarray:
        return np.exp(p[0]) * kernel(p).noise_power(torch.as_tensor(at)).numpy()

    start = [5.0, np.log(0.8 if sharp else 0.3), np.log(4.0 if sharp else 2.0)] + [0.5] * sharp
    found = optimize.least_squares(
        lambda p: np.log(model(p, f[inside])) - np.log(power[inside]), start, loss="soft_l1"
    ).x
    fine = np.linspace(1e-3, 1.08, 3000)
    return kernel(found), float(np.sqrt(np.trapezoid(2 * np.pi * fine * model(found, fine), fine)))


def profile(hu: np.ndarray, depth: np.ndarray, slices: range) -> dict[str, float]:
    """Median HU by depth."""
    hu, depth = hu[:, :, slices.start : slices.stop], depth[:, :, slices.start : slices.stop]
    bins = itertools.pairwise(DEPTHS)
    return {f"{a}-{b} mm": float(np.median(hu[(depth > a) & (depth <= b)])) for a, b in bins}


def main(data: Path) -> None:
    """Measure and print."""
    soft, pixel = dicom_slices(data / "toshiba_head_ct_dicom" / "ax_soft")
    sharp, _ = dicom_slices(data / "toshiba_head_ct_dicom" / "ax_sharp")
    ge, ge_pixel = dicom_slices(data / "ge_head_ct_dicom")
    soft, ge = soft.clip(-1000), ge.clip(-1000)
    depth, ge_depth = cavity_depth(soft, pixel), cavity_depth(ge, ge_pixel)

    f, (_, sharp_power, soft_noise) = spectra([soft, sharp], depth, pixel, VAULT, 25)
    ge_f, (ge_power, _) = spectra([ge], ge_depth, ge_pixel, VAULT, 25)
    rows = []
    for name, at, power, band, is_sharp in (
        ("toshiba_fc63", f, soft_noise, (0.2, 0.8), False),
        ("toshiba_fc30", f, sharp_power, (0.22, 1.0), True),
        ("ge_std_plus", ge_f, ge_power, (0.3, 0.8), False),
    ):
        kernel, noise = fit_kernel(at, power, *band, is_sharp)
        rows.append({"kernel": name, "cutoff": kernel.cutoff, "order": kernel.order, "boost": kernel.boost})
        rows[-1] |= {"noise HU": noise, "in use": str(KERNELS[name])}
    report("noise power spectra", rows)

    volume = torch.as_tensor(soft, dtype=torch.float32)
    water_map, bone_map, cm = materials(volume, (pixel, pixel))
    water, bone = project(water_map, cm), project(bone_map, cm)
    variance = spread(ray_variance(water, bone).mean(0), soft.shape[:2]).numpy()
    inside = depth > 6
    residual = sharp - ndimage.gaussian_filter(sharp, (1, 1, 0))
    level = smooth(np.minimum(residual**2, np.quantile(residual[inside] ** 2, 0.995)), inside, 10)
    vault = inside & (np.arange(depth.shape[2]) >= VAULT)
    slope, _ = np.polyfit(np.log(variance[vault]), np.log(level[vault]), 1)
    middle = (depth > 25) & (np.arange(depth.shape[2]) >= VAULT)
    rows = [
        {
            "slope of log variance (1 expected)": slope,
            "mean in the middle (1 expected)": variance[middle].mean(),
        }
    ]
    report("level of noise", rows)

    inside = depth > 2
    inside[:, :, :VAULT] = False
    wide = smooth(sharp - soft, inside, 4)[inside]
    terms = [bone * water, bone**2]
    maps = [beside_bone(filtered_back_projection(-term, cm), bone_map) for term in terms]
    maps = [spread(error, soft.shape[:2]).numpy()[inside] for error in maps]
    columns = np.stack(maps, 1)
    found, *_ = np.linalg.lstsq(columns, wide, rcond=None)
    rows = [{"bone water": found[0], "bone^2": found[1]}]
    rows[0] |= {"sd of the difference": wide.std(), "sd left": (wide - columns @ found).std()}
    report("hardened beam: HU cm lost per path", rows)

    model = {}
    for name, hardening in (("FC63 + model", 1.0), ("FC63 + half", 0.5)):
        scan = Acquisition(Kernel(9.0, 2.0), aperture=0.0, glare=0.0, noise=0.0, hardening=hardening)
        model[name] = acquire_volume(volume, (pixel, pixel, 5.0), scan, torch.Generator()).numpy()
    scans = {"FC63": (soft, depth), "FC30": (sharp, depth)} | {k: (v, depth) for k, v in model.items()}
    scans["GE"] = (ge, ge_depth)
    rows = []
    for part, slices in (("vault", range(VAULT, 20)), ("vertex", range(22, 26))):
        rows += [{"scan": f"{name}, {part}"} | profile(*scan, slices) for name, scan in scans.items()]
    report("median HU below the inner table", rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
