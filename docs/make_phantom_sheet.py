"""Contact sheet: real slices above synthetic ones in the same window.

    python docs/make_phantom_sheet.py REAL_DATA docs/images/phantom_sheet.png

REAL_DATA holds `ge_head_ct_dicom/` (a DICOM series) and `ct_ich_v1.0.0_sample/` (8-bit slices). Without it
only synthetic slices are shown.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tools.phantom import HeadPhantom
from tools.phantom.ct_ich_layout import BRAIN_WINDOW, picture, windowed
from tools.volume_io import read_volume

TILE = 200
COLUMNS = 8

#: DICOM slices from base to vertex in the tilt-corrected volume, as shares of its height.
GE_LEVELS = (0.16, 0.23, 0.30, 0.40, 0.48, 0.57, 0.70, 0.82)
PHANTOM_LEVELS = (0.22, 0.29, 0.37, 0.46, 0.53, 0.62, 0.73, 0.83)

#: Slices of CT-ICH that show different things.
ICH_SLICES = (
    "078/brain/12",
    "078/brain/14",
    "078/brain/16",
    "078/brain/20",
    "077/brain/20",
    "080/brain/14",
    "080/brain/16",
    "080/brain/18",
)

#: Synthetic cases with blood: kind, index, where the slice with most of it lies is found.
BLOOD = (("edh", 5), ("sdh", 1), ("iph", 1), ("iph_ivh", 4), ("ivh", 3), ("sah", 0), ("sdh", 5), ("any", 0))


def tile(grey: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Slice (X, Y) uint8 as a square picture, front up."""
    image = Image.fromarray(picture(grey, spacing, Image.Resampling.BICUBIC))
    return np.asarray(image.resize((TILE, TILE), Image.Resampling.LANCZOS))


def levels(volume, shares: tuple[float, ...], window: tuple[float, float]) -> list[np.ndarray]:
    """Tiles of a volume (1, X, Y, Z) at shares of its height."""
    hu = volume.as_tensor()[0]
    spacing = tuple(np.linalg.norm(np.asarray(volume.affine)[:3, :2], axis=0))
    return [tile(windowed(hu[:, :, round(share * (hu.shape[2] - 1))], window), spacing) for share in shares]


def bloodiest(kind: str, index: int) -> np.ndarray:
    """Tile of the slice with most blood of a synthetic case."""
    case = HeadPhantom(
        seed=1, index=index, kind=kind, shape=(480, 480, 32), spacing=(0.48, 0.48, 5.0)
    ).render()
    blood = (case.classes.as_tensor()[0] > 0).sum((0, 1))
    return tile(windowed(case.image.as_tensor()[0][:, :, int(blood.argmax())], BRAIN_WINDOW), (0.48, 0.48))


def main(real: Path | None, out: Path) -> None:
    """Write the sheet."""
    rows: list[tuple[str, list[np.ndarray]]] = []
    if real:
        volume = read_volume(real / "ge_head_ct_dicom")
        rows.append(("real: GE, level 40, width 80", levels(volume, GE_LEVELS, (40.0, 80.0))))
    for index in (6, 3):
        case = HeadPhantom(
            seed=1, index=index, kind="normal", shape=(480, 480, 34), spacing=(0.48, 0.48, 4.8)
        ).render()
        rows.append(
            (
                f"synthetic, age {case.truth['age']:.0f}, level 40, width 80",
                levels(case.image, PHANTOM_LEVELS, (40.0, 80.0)),
            )
        )
    if real:
        folder = real / "ct_ich_v1.0.0_sample" / "Patients_CT"
        tiles = [
            Image.open(folder / f"{name}.jpg").resize((TILE, TILE), Image.Resampling.LANCZOS)
            for name in ICH_SLICES
        ]
        rows.append(
            (
                "real: CT-ICH, level 40, width 120 (Hssayeni et al. 2020, CC BY 4.0)",
                [np.asarray(t) for t in tiles],
            )
        )
    blood = [bloodiest(kind, index) for kind, index in BLOOD]
    rows.append(("synthetic, level 40, width 120: " + ", ".join(kind for kind, _ in BLOOD), blood))
    sheet = Image.new("L", (TILE * COLUMNS, len(rows) * (TILE + 16)))
    draw = ImageDraw.Draw(sheet)
    for row, (text, tiles) in enumerate(rows):
        top = row * (TILE + 16)
        draw.text((4, top + 2), text, fill=255)
        for column, picture_ in enumerate(tiles):
            sheet.paste(Image.fromarray(picture_), (column * TILE, top + 16))
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]) if len(sys.argv) == 3 else None, Path(sys.argv[-1]))
