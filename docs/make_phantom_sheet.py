"""Contact sheet: real and synthetic slices mixed, in one window, size and JPEG quality, with the key below.

    python docs/make_phantom_sheet.py REAL_DATA ANATOMY docs/images/phantom_sheet.png [--seed 0]

REAL_DATA holds `ge_head_ct_dicom/`, `toshiba_head_ct_dicom/ax_soft/` and `ct_ich_v1.0.0_sample/`; ANATOMY is
a folder of label maps. Look at the slices first, then at the key.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.scan_statistics import dicom_slices
from benchmarks.two_sample import as_picture, reencoded
from tools.phantom import HeadPhantom

TILE, COLUMNS, LINE = 200, 8, 15

#: Slices of CT-ICH that show different things.
ICH_SLICES = ("078/brain/12", "078/brain/16", "077/brain/20", "080/brain/10", "080/brain/15", "080/brain/20")

#: Levels from the vertex in mm, two of each real series and of each synthetic head without blood.
LEVELS = (35.0, 70.0, 95.0, 115.0)

#: Synthetic cases with blood: kind and index; the slice with most of it is shown.
BLOOD = (("iph", 0), ("sdh", 5), ("edh", 6), ("sah", 7), ("ivh", 4), ("iph", 1))


def tile(grey: np.ndarray) -> np.ndarray:
    """The head of a picture (rows, columns) as a square."""
    parts, _ = ndimage.label(ndimage.binary_opening(grey > 60, iterations=3))
    head = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    rows, columns = np.flatnonzero(head.any(1)), np.flatnonzero(head.any(0))
    side = int(1.08 * max(np.ptp(rows), np.ptp(columns)))
    top, left = ((int(a[0]) + int(a[-1]) - side) // 2 for a in (rows, columns))
    image = Image.fromarray(grey).crop((left, top, left + side, top + side))
    return np.asarray(image.resize((TILE, TILE), Image.Resampling.LANCZOS))


def vertex(hu: np.ndarray) -> int:
    """Highest slice that shows bone."""
    return int(np.flatnonzero((hu > 300).sum((0, 1)) > 200).max())


def real_tiles(data: Path) -> list[tuple[str, np.ndarray]]:
    """Key and tile of real slices."""
    found = []
    for name, folder, step in (
        ("GE", "ge_head_ct_dicom", 7.0),
        ("Toshiba", "toshiba_head_ct_dicom/ax_soft", 5.0),
    ):
        hu, pixel = dicom_slices(data / folder)
        top = vertex(hu)
        for level in LEVELS:
            found.append((f"real {name}", tile(as_picture(hu[:, :, top - round(level / step)], pixel))))
    for name in ICH_SLICES:
        path = data / "ct_ich_v1.0.0_sample" / "Patients_CT" / f"{name}.jpg"
        grey = np.asarray(Image.open(path).convert("L"))
        found.append((f"real CT-ICH {name.replace('/brain/', '-')}", tile(reencoded(grey))))
    return found


def synthetic_tiles(data: Path, anatomy: Path) -> list[tuple[str, np.ndarray]]:
    """Key and tile of synthetic slices: without blood, with blood, and blood on a real scan."""
    size = {"shape": (400, 400, 32), "spacing": (0.56, 0.56, 5.0), "anatomy": anatomy}
    found = []
    for index in (11, 12, 13, 14):
        case = HeadPhantom(seed=3, index=index, kind="normal", **size).render()
        hu = case.image.as_tensor()[0].numpy()
        for level in LEVELS[index % 2 :: 2]:
            k = max(0, vertex(hu) - round(level / 5))
            found.append((f"map {case.truth['map'][-2:]}", tile(as_picture(hu[:, :, k], 0.56))))
    scan = {
        "anatomy": anatomy,
        "maps": "training_seg_03",
        "background": data / "toshiba_head_ct_dicom" / "ax_soft",
    }
    for (kind, index), options in [(b, size) for b in BLOOD] + [(b, scan) for b in BLOOD[1::4]]:
        case = HeadPhantom(seed=3, index=index, kind=kind, **options).render()
        blood = (case.classes.as_tensor()[0] > 0).sum((0, 1))
        k = int(torch.argmax(blood))
        pixel = float(np.linalg.norm(np.asarray(case.affine)[:3, 0]))
        name = "on Toshiba" if options is scan else f"map {case.truth['map'][-2:]}"
        found.append((f"{name}, {kind}", tile(as_picture(case.image.as_tensor()[0][:, :, k].numpy(), pixel))))
    return found


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("real", type=Path)
    parser.add_argument("anatomy", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tiles = real_tiles(arguments.real) + synthetic_tiles(arguments.real, arguments.anatomy)
    tiles = [tiles[i] for i in np.random.default_rng(arguments.seed).permutation(len(tiles))]
    rows = -(-len(tiles) // COLUMNS)
    key = [f"{number} {name}" for number, (name, _) in enumerate(tiles, 1)]
    lines = ["Key: " + ";  ".join(key[i : i + COLUMNS]) for i in range(0, len(key), COLUMNS)]
    lines = [line.removeprefix("Key: ") if i else line for i, line in enumerate(lines)]
    lines.append("Real: GE (Aliza Medical Imaging, C. Rorden, BSD-2-Clause), Toshiba (elgabrielc, MIT),")
    lines.append(
        "CT-ICH (Hssayeni et al. 2020, CC BY 4.0). The others are synthetic, or blood put into Toshiba."
    )
    sheet = Image.new("L", (TILE * COLUMNS, rows * TILE + 60 + len(lines) * LINE))
    draw = ImageDraw.Draw(sheet)
    for number, (_, shown) in enumerate(tiles):
        at = (number % COLUMNS * TILE, number // COLUMNS * TILE)
        sheet.paste(Image.fromarray(shown), at)
        draw.text((at[0] + 4, at[1] + 2), str(number + 1), fill=255)
    for row, line in enumerate(lines):
        draw.text((6, rows * TILE + 50 + row * LINE), line, fill=150)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
