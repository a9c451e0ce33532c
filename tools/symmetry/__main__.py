"""python -m tools.symmetry SCAN [--picture PLANE.png] [--map MIRRORED.nii.gz]: the plane of one scan."""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np
from monai.data import MetaTensor

from tools.errors import InputError
from tools.symmetry import SymmetryPlane, estimate_symmetry_plane, symmetry_map
from tools.volume_io import read_volume


def draw_plane(volume: MetaTensor, plane: SymmetryPlane, path: str, slices: int = 8) -> None:
    """PNG of axial slices from base to vertex, brain window, with the plane as a line."""
    from matplotlib import pyplot as plt  # slow to import, and only pictures need it

    hu, affine = volume[0].cpu().numpy(), volume.affine.cpu().numpy()
    normal, offset = plane.normal.cpu().numpy(), float(plane.offset)
    width, height, depth = hu.shape
    columns = -(-slices // 2)
    figure, axes = plt.subplots(2, columns, figsize=(2.2 * columns, 4.8), facecolor="black")
    tall = np.linalg.norm(affine[:3, 1]) / np.linalg.norm(affine[:3, 0])
    for panel, z in zip(axes.flat, np.linspace(0.08, 0.9, slices) * (depth - 1), strict=False):
        z = round(z)
        panel.imshow(hu[:, :, z].T, cmap="gray", vmin=0, vmax=80, origin="lower", aspect=tall)
        rows = np.array([0, height - 1])
        start = np.stack([np.zeros(2), rows, np.full(2, z), np.ones(2)])
        along = (offset - normal @ (affine @ start)[:3]) / (normal @ affine[:3, 0])
        panel.plot(along, rows, color="gold", linewidth=0.8)
        panel.set(xlim=(0, width - 1), ylim=(0, height - 1))
        panel.axis("off")
    figure.subplots_adjust(0, 0, 1, 1, 0.01, 0.01)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.symmetry", description=__doc__)
    parser.add_argument("scan", help="NIfTI file or DICOM folder")
    parser.add_argument("--picture", help="PNG of the plane on some slices")
    parser.add_argument("--map", help="NIfTI file of the mirrored volume, to lay over the scan")
    args = parser.parse_args()
    volume = read_volume(args.scan)
    plane = estimate_symmetry_plane(volume, case=args.scan)
    yaw = math.degrees(math.atan2(plane.normal[1], plane.normal[0]))
    roll = math.degrees(math.asin(plane.normal[2]))
    normal = " ".join(f"{n:.4f}" for n in plane.normal.tolist())
    print(f"normal {normal} (RAS), offset {float(plane.offset):.2f} mm, score {float(plane.score):.3f}")
    print(f"the head is turned by {yaw:.1f} degrees and tilted sideways by {-roll:.1f} degrees")
    if args.picture:
        draw_plane(volume, plane, args.picture)
    if args.map:
        import nibabel as nib

        mirrored = symmetry_map(volume, plane)
        image = nib.Nifti1Image(mirrored[0].numpy().round().astype(np.int16), volume.affine.numpy())
        nib.save(image, args.map)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")
