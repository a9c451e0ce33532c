"""Brain extraction three ways: the 2022 rules, Muschelli's smoothing variant, ours.

    python benchmarks/bench_brain.py [--quick] [--cases 24] [--real DICOM_FOLDER] [--out FILE.json]

On phantoms whose inside of the skull is known: 2 to 7 mm slices, straight and tilted, whole heads and slabs
without base or vertex; on a real scan if one is named; and the time for 512 x 512 x 30.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import report, seconds
from tqdm import tqdm

from tools.phantom import HeadPhantom
from tools.volumes.brain import extract_brain
from tools.volumes.read import read_volume

METHODS = ("rules2022", "muschelli", "smooth")
KINDS = ("sdh", "edh", "iph_ivh", "any", "normal", "sdh+edh")
SLICES_MM = (5.0, 3.0, 7.0, 5.0, 2.0, 5.0)
PARTS = {"whole": slice(None), "no base": slice(0.35, None), "no vertex": slice(None, 0.65)}
EXTRA_AXIAL = torch.tensor([1, 5])  # EDH, SDH


def make_case(index: int, cache: Path) -> dict:
    path = cache / f"{index}.pt"
    if not path.exists():
        mm = SLICES_MM[index % len(SLICES_MM)]
        case = HeadPhantom(
            seed=77,
            index=index,
            shape=(256, 256, round(165 / mm)),
            spacing=(0.9, 0.9, mm),
            kind=KINDS[index // 2 % len(KINDS)],
            tilt=15.0 if index % 4 == 3 else 0.0,
        ).render()
        volumes = {"image": case.image, "brain": case.brain, "classes": case.classes}
        saved = {name: volume.as_tensor().to(torch.int16) for name, volume in volumes.items()}
        torch.save(saved | {"affine": case.affine, "mm": mm}, path)
    return torch.load(path, weights_only=True)


def measure(case: dict, method: str, part: slice) -> dict:
    depth = case["image"].shape[-1]
    cut = slice(*(None if at is None else round(at * depth) for at in (part.start, part.stop)))
    brain = extract_brain(case["image"][..., cut].float(), case["affine"], method)
    truth = case["brain"][..., cut].bool()
    blood = torch.isin(case["classes"][..., cut], EXTRA_AXIAL)
    overlap = int((brain & truth).sum())
    row = {"dice": 2 * overlap / int(brain.sum() + truth.sum()), "blood": int(blood.sum())}
    return row | {"kept": int((brain & blood).sum())}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="4 cases")
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--real", help="DICOM folder or NIfTI file of a real head CT")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "bench_brain_phantoms")
    parser.add_argument("--out")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    cases = [make_case(i, args.cache) for i in tqdm(range(4 if args.quick else args.cases), desc="phantoms")]

    rows = []
    for name, part in PARTS.items():
        for method in METHODS:
            found = [measure(case, method, part) for case in tqdm(cases, desc=f"{name}, {method}")]
            dice = np.array([f["dice"] for f in found])
            bleeding = [f for f in found if f["blood"]]
            recall = [f["kept"] / f["blood"] for f in bleeding]
            row = {"part": name, "method": method, "cases": len(found)}
            row |= {"median Dice": float(np.median(dice)), "worst Dice": float(dice.min())}
            row["blood recall, pooled"] = sum(f["kept"] for f in bleeding) / sum(f["blood"] for f in bleeding)
            rows.append(row | {"median": float(np.median(recall)), "worst": min(recall)})
    report("brain extraction on phantoms; recall of epidural and subdural blood", rows, args.out)

    big = torch.nn.functional.interpolate(cases[0]["image"].float()[None], (512, 512, 30), mode="trilinear")[
        0
    ]
    affine = np.diag([0.45, 0.45, 5.5, 1.0])
    timed = [
        {"method": m, "s per 512 x 512 x 30": seconds(lambda m=m: extract_brain(big, affine, m))}
        for m in METHODS
    ]
    report("brain extraction, time", timed)

    if args.real:
        volume = read_volume(args.real)
        ml = float(torch.linalg.det(volume.affine[:3, :3]).abs()) / 1000
        real = []
        for method in METHODS:
            brain = extract_brain(volume, method=method).as_tensor()
            bright = float((volume.as_tensor()[brain] > 120).float().mean())
            real.append({"method": method, "mL": int(brain.sum()) * ml, "share above 120 HU": bright})
        report("brain extraction on the real scan", real)


if __name__ == "__main__":
    main()
