"""Seconds per synthetic case, and how near synthetic heads come to real ones.

    python benchmarks/bench_phantom.py [--quick] [--device cpu] [--out FILE.json]
                                       [--real-data DIR [--anatomy MAPS] [--cases 24]]

Targets for 256 x 256 x 32 voxels on one core: 6 s for a new person from a label map, 2 s for each further
pose, bleed and scan of one. With `--real-data` (a folder that holds `ge_head_ct_dicom/`,
`toshiba_head_ct_dicom/` and `ct_ich_v1.0.0_sample/`) likeness follows, for heads made of shapes and, with
`--anatomy`, of label maps:

- a two-sample test (`two_sample.py`): real slices against synthetic ones, cross-validated by scan; 0.5 is
  chance;
- HU by zone, fluid in the sulci and mL of ventricle; in real scans ventricles are those found for a
  background;
- noise power spectra inside the skull, of heads without blood.

No peer is timed: no maintained package that makes head CT with hemorrhage without patient data was found.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import report, seconds
from benchmarks.scan_statistics import cavity_depth, dicom_slices, spectra, zones
from benchmarks.two_sample import head_box, reencoded, slices_of, two_sample
from tools.phantom import HeadPhantom, PhantomStream, write_phantoms

#: Size of the heads that are compared with real ones; the pictures compared are coarser than these pixels.
FINE = {"shape": (320, 320, 30), "spacing": (0.7, 0.7, 5.0)}

#: Slices of each scan in the two-sample test.
SLICES = 16

#: 1/mm at which spectra are printed.
PRINTED = (0.07, 0.15, 0.23, 0.31, 0.39, 0.51, 0.63)


def speed(device: str, quick: bool, anatomy: Path | None = None) -> list[dict]:
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
    if anatomy:
        for name, per_person in (("new person", 1), ("further pose, bleed, scan", 10**6)):
            index = itertools.count()

            def make(index=index, per_person=per_person) -> None:
                HeadPhantom(
                    1, next(index), kind="any", device=device, anatomy=anatomy, maps="training_seg_03",
                    per_person=per_person,
                ).render()  # fmt: skip

            time = seconds(make, 3 if quick else 5, device)
            rows.append({"case": f"label map, {name}, any 256x256x32", "s": time, "cases/min": 60 / time})
    with tempfile.TemporaryDirectory() as folder:
        index = iter(range(1000))
        time = seconds(lambda: write_phantoms(f"{folder}/{next(index)}", cases=1, device=device), 3, device)
    rows.append({"case": "write_phantoms iph_ivh 256x256x32", "s": time, "cases/min": 60 / time})
    return rows


def real_scans(data: Path) -> dict[str, list[np.ndarray]]:
    """Boxes of the brain slices of each real scan."""
    rng = np.random.default_rng(0)
    scans = {}
    for name, folder in (("GE", "ge_head_ct_dicom"), ("Toshiba", "toshiba_head_ct_dicom/ax_soft")):
        scans[name] = slices_of(*dicom_slices(data / folder), SLICES, rng)
    for folder in sorted((data / "ct_ich_v1.0.0_sample" / "Patients_CT").iterdir()):
        files = sorted(f for f in (folder / "brain").glob("*.jpg") if not f.stem.endswith("Seg"))
        boxes = [head_box(reencoded(np.asarray(Image.open(f).convert("L")))) for f in files]
        scans[f"CT-ICH {folder.name}"] = [box for box in boxes if box is not None][:SLICES]
    return scans


def settings(data: Path, anatomy: Path | None, device: str) -> dict[str, dict[str, Any]]:
    """Arguments of `HeadPhantom` for each kind of head."""
    made: dict[str, dict[str, Any]] = {"procedural": dict(FINE)}
    if anatomy:
        maps = {**FINE, "anatomy": anatomy}
        scan = {"anatomy": anatomy, "maps": "training_seg_03"}
        made["anatomy"] = maps
        made["anatomy, wide"] = {**maps, "appearance": "wide"}
        made["on Toshiba"] = {**scan, "background": data / "toshiba_head_ct_dicom" / "ax_soft"}
        made["on GE"] = {**scan, "background": data / "ge_head_ct_dicom"}
    return {name: {**options, "device": device} for name, options in made.items()}


def heads(options: dict[str, Any], cases: int, kind: str = "any") -> Iterator[tuple[np.ndarray, float, Any]]:
    """HU (X, Y, Z), pixel in mm and case of each head."""
    for index in range(cases):
        case = HeadPhantom(seed=7, index=index, kind=kind, **options).render()
        hu = case.image.as_tensor()[0].cpu().numpy()
        yield hu, float(np.linalg.norm(np.asarray(case.affine)[:3, 0])), case


def likeness(
    data: Path, made: dict[str, dict[str, Any]], cases: int
) -> tuple[list[dict], list[dict], list[dict]]:
    """Rows of the two-sample test, of zones, and of spectra."""
    real = real_scans(data)
    rng = np.random.default_rng(1)
    tests, parts, powers = [], [], []

    def measured(name: str, hu: np.ndarray, pixel: float, thickness: float, ventricles: np.ndarray) -> None:
        parts.append({"scan": name} | zones(hu, pixel, thickness, ventricles))
        f, (power, _) = spectra([hu], cavity_depth(hu, pixel), pixel)
        nearest = [int(np.abs(f - at).argmin()) for at in PRINTED]
        powers.append(
            {"scan": name} | {f"{at}/mm": float(power[i]) for at, i in zip(PRINTED, nearest, strict=True)}
        )

    for name, options in made.items():
        if "background" in options:  # the scan itself, before blood
            hu, pixel, case = next(heads(options, 1, "normal"))
            thickness = float(np.linalg.norm(np.asarray(case.affine)[:3, 2]))
            measured(
                f"real: {name.removeprefix('on ')}", hu, pixel, thickness, case.ventricles[0].numpy() > 0
            )
    for name, options in made.items():
        boxes = [slices_of(hu, pixel, SLICES, rng) for hu, pixel, _ in heads(options, cases)]
        tests.append({"heads": name, "scans": len(boxes)} | two_sample(list(real.values()), boxes))
        if "background" not in options:
            for hu, pixel, case in heads(options, min(cases, 5), "normal"):
                label = f"{name} {case.truth['index']}, age {case.truth['age']:.0f}"
                measured(label, hu, pixel, options["spacing"][2], case.ventricles[0].cpu().numpy() > 0)
    names = list(real)
    others = [two_sample([real[n] for n in names[:2]], [real[n] for n in names[2:]])]
    tests += [{"heads": "real: GE and Toshiba against CT-ICH", "scans": len(names)} | row for row in others]
    return tests, parts, powers


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--real-data", type=Path)
    parser.add_argument("--anatomy", type=Path, help="folder of label maps")
    parser.add_argument("--cases", type=int, default=24, help="heads of each kind in the two-sample test")
    parser.add_argument("--only", default="", help="kinds of heads to compare, joined by semicolons")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    report("phantom", speed(arguments.device, arguments.quick, arguments.anatomy), arguments.out)
    if arguments.real_data:
        made = settings(arguments.real_data, arguments.anatomy, arguments.device)
        if arguments.only:
            made = {name: made[name] for name in arguments.only.split(";")}
        tables = likeness(arguments.real_data, made, 6 if arguments.quick else arguments.cases)
        for name, rows in zip(("two-sample test", "zones", "spectra"), tables, strict=True):
            out = arguments.out and f"{Path(arguments.out).with_suffix('')}_{name.replace(' ', '_')}.json"
            report(f"phantom {name}", rows, out)


if __name__ == "__main__":
    main()
