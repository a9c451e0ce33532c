"""Memory and time of `headct predict` for a scan of 512 x 512 x 400 voxels of 0.625 mm, as thin series are.

    python benchmarks/bench_large_scan.py [--out FILE.json] [--shape 512,512,400]

The scan is a synthetic head, drawn at 5 mm and interpolated, with noise on every slice. Peak memory is that
of the whole command, as the system counts it; processor seconds hardly depend on what else runs.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import typer
from common import report

from tools.phantom import HeadPhantom

MM = 0.625


def bench(out: str | None = None, bundle: str = "se_unet3d", shape: str = "512,512,400") -> None:
    """Run the command once.

    Args:
        out: JSON file to write.
        bundle: name of the bundle.
        shape: voxels of the scan.
    """
    with tempfile.TemporaryDirectory() as temporary:
        scan = write_scan(Path(temporary, "thin.nii.gz"), [int(n) for n in shape.split(",")])
        results = Path(temporary, "out")
        command = [
            sys.executable,
            "-m",
            "headct",
            "predict",
            str(scan),
            "--bundle",
            bundle,
            "--out",
            str(results),
        ]
        before, start = os.times(), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall, after = time.perf_counter() - start, os.times()
        phases = json.loads((results / "thin" / "report.json").read_text())["seconds"]
    rows: list[dict[str, object]] = [{"phase": name, "wall s": seconds} for name, seconds in phases.items()]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    processor = sum(after[i] - before[i] for i in (2, 3))
    rows.append({"phase": "whole command", "wall s": wall, "processor s": processor, "peak GiB": peak})
    report(f"predict, {bundle}, {shape} voxels of {MM} mm", rows, out)


def write_scan(path: Path, shape: list[int]) -> Path:
    """A synthetic head on voxels of 0.625 mm."""
    coarse = (4, 4, 8)  # voxels of the scan in one that is drawn
    drawn = [-(-n // c) for n, c in zip(shape, coarse, strict=True)]
    spacing = tuple(MM * c for c in coarse)
    case = HeadPhantom(seed=7, kind="iph_ivh", shape=tuple(drawn), spacing=spacing, noise=False).render()
    head = case.image[0].numpy()
    places = [(np.arange(n) + 0.5) / c - 0.5 for n, c in zip(shape, coarse, strict=True)]
    volume = np.empty(shape, np.int16)
    generator = np.random.default_rng(7)
    for z, place in enumerate(places[2]):
        low = int(np.clip(np.floor(place), 0, drawn[2] - 2))
        weight = float(np.clip(place - low, 0, 1))
        plane = (1 - weight) * head[..., low] + weight * head[..., low + 1]
        for axis in (0, 1):
            plane = np.apply_along_axis(
                lambda line, at=places[axis]: np.interp(at, np.arange(len(line)), line), axis, plane
            )
        volume[..., z] = np.clip(plane + generator.normal(0, 5, plane.shape), -1024, 3071)
    affine = np.diag([-MM, MM, MM, 1.0])
    affine[:3, 3] = np.array([MM, -MM, -MM]) * (np.array(shape) - 1) / 2 + 3.7
    nib.save(nib.Nifti1Image(volume, affine), path)
    return path


if __name__ == "__main__":
    typer.run(bench)
