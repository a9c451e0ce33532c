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
BLOOD = tuple(
    {"edh": 5, "sdh": 0, "iph": 1, "iph_ivh": 4, "ivh": 5, "sah": 5, "iph+sah": 6, "any": 0}.items()
)


def tile(grey: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Slice (X, Y) uint8 as a square picture, front up."""
    image = Image.fromarray(picture(grey, spacing, Image.Resampling.BICUBIC))
    return np.asarray(image.resize((TILE, TILE), Image.Resampling.LANCZOS))


def cropped(
    plane: np.ndarray, hu: np.ndarray, spacing: tuple[float, float], size: float = 225.0
) -> np.ndarray:
    """The `size` mm around the bone of a slice, black where the slice ends."""
    reach = [round(size / 2 / mm) for mm in spacing]
    padded = np.pad(plane, [(n, n) for n in reach])
    center = [round(float(c.mean())) for c in np.nonzero(hu > 200)]
    return padded[tuple(slice(c, c + 2 * n) for c, n in zip(center, reach, strict=True))]


def shown(volume, k: int, window: tuple[float, float]) -> np.ndarray:
    """Tile of slice k of a volume (1, X, Y, Z)."""
    hu = volume.as_tensor()[0][:, :, k]
    spacing = tuple(float(mm) for mm in np.linalg.norm(np.asarray(volume.affine)[:3, :2], axis=0))
    return tile(cropped(windowed(hu, window), hu.numpy(), spacing), spacing)


def levels(volume, shares: tuple[float, ...], window: tuple[float, float]) -> list[np.ndarray]:
    """Tiles of a volume (1, X, Y, Z) at shares of its height."""
    return [shown(volume, round(share * (volume.shape[3] - 1)), window) for share in shares]


def bloodiest(kind: str, index: int) -> np.ndarray:
    """Tile of the slice with most blood of a synthetic case."""
    case = HeadPhantom(1, index, shape=(360, 360, 32), spacing=(0.64, 0.64, 5.0), kind=kind).render()
    blood = (case.classes.as_tensor()[0] > 0).sum((0, 1))
    return shown(case.image, int(blood.argmax()), BRAIN_WINDOW)


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
