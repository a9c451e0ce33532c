"""The mid-sagittal plane of one scan, and a picture of it."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.data import MetaTensor

from tools.symmetry import SymmetryPlane, estimate_symmetry_plane, symmetry_map
from tools.volumes.read import read_volume

__all__ = ["draw_plane", "symmetry"]


def draw_plane(volume: MetaTensor, plane: SymmetryPlane, path: str | Path, slices: int = 8) -> None:
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


def symmetry(scan: str | Path, picture: str | Path | None = None, map: str | Path | None = None) -> None:
    """Print the plane of one scan.

    Args:
        scan: NIfTI file or DICOM folder.
        picture: PNG to write, of the plane on some slices.
        map: NIfTI file to write, of the mirrored volume.

    Raises:
        InputError: no such scan, or no head in it.
    """
    volume = read_volume(scan)
    plane = estimate_symmetry_plane(volume, case=str(scan))
    yaw = math.degrees(math.atan2(plane.normal[1], plane.normal[0]))
    roll = math.degrees(math.asin(plane.normal[2]))
    normal = " ".join(f"{n:.4f}" for n in plane.normal.tolist())
    print(f"normal {normal} (RAS), offset {float(plane.offset):.2f} mm, score {float(plane.score):.3f}")
    print(f"the head is turned by {yaw:.1f} degrees and tilted sideways by {-roll:.1f} degrees")
    if picture:
        draw_plane(volume, plane, picture)
    if map:
        mirrored = symmetry_map(volume, plane)
        image = nib.Nifti1Image(mirrored[0].numpy().round().astype(np.int16), volume.affine.numpy())
        nib.save(image, map)
