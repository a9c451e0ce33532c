"""Where in a head a point lies: MNI-like coordinates in mm, fitted to the centroids of labelled structures.

Places in the literature (aneurysm sites, sutures, lobes) are points and planes of an atlas; a head in a map
is pitched, turned and of any size. A similarity transform is fitted to the centroids of deep structures on
both sides (Umeyama, IEEE PAMI 1991), and each axis is then stretched to the extent of the cerebrum. Good to
about 5 mm, which is all that is asked of it.
"""

from __future__ import annotations

import numpy as np
import torch

from tools.phantom.anatomy import labels as L

#: Centroids of structures of the left side in MNI space, mm; the right side mirrors x.
CENTROIDS = {
    L.THALAMUS_LEFT: (-11, -19, 7),
    L.CAUDATE_LEFT: (-13, 10, 10),
    L.PUTAMEN_LEFT: (-25, 2, 0),
    L.PALLIDUM_LEFT: (-19, -5, -1),
    17: (-26, -22, -13),  # hippocampus
    18: (-23, -4, -19),  # amygdala
    26: (-9, 11, -7),  # accumbens
    28: (-10, -15, -9),  # ventral diencephalon
    L.CEREBELLAR_CORTEX_LEFT: (-25, -63, -36),
    L.CEREBELLAR_WHITE_LEFT: (-17, -57, -34),
}
MIDLINE = {L.BRAIN_STEM: (0, -29, -32), L.FOURTH: (0, -46, -31)}

#: Extent of the cerebrum in MNI space, mm: right, front and back, top.
HALF_WIDTH, FRONT, BACK, TOP = 69.0, 71.0, -104.0, 79.0


def centroids(labels: np.ndarray, step: int) -> dict[int, np.ndarray]:
    """Mean voxel index of each label that has at least 8 voxels in a grid thinned by `step`."""
    flat = labels.ravel().astype(np.int64)
    counts = np.bincount(flat, minlength=L.COUNT)
    axes = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in labels.shape), indexing="ij")
    sums = [np.bincount(flat, weights=axis.ravel(), minlength=L.COUNT) for axis in axes]
    return {
        int(n): np.array([s[n] for s in sums]) / counts[n] * step
        for n in np.flatnonzero(counts >= 8)
        if n > 0
    }


def similarity(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrix (3, 3) and shift (3,) of the least-squares similarity transform from (N, 3) to (N, 3) points."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    flip = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    matrix = (s * np.diag(flip)).sum() / (a**2).sum() * (u @ flip @ vt)
    return matrix, target.mean(0) - matrix @ source.mean(0)


def fit_frame(labels: torch.Tensor) -> np.ndarray:
    """3x4 matrix from voxel indices of a RAS grid of 1 mm to MNI-like mm.

    Without the deep structures (maps that know only brain and fluid) the axes of the grid are taken.
    """
    step = 2
    thin = labels[::step, ::step, ::step].cpu().numpy()
    found = centroids(thin, step)
    target = {n: np.array(c, float) for n, c in (CENTROIDS | MIDLINE).items()}
    target |= {L.PAIRS[n]: np.array(c) * (-1, 1, 1) for n, c in CENTROIDS.items()}
    names = [n for n in target if n in found]
    fitted = len(names) >= 6 and any(n in found for n in L.LEFT) and any(n in found for n in L.RIGHT)
    matrix, shift = np.eye(3), np.zeros(3)
    if fitted:
        matrix, shift = similarity(np.array([found[n] for n in names]), np.array([target[n] for n in names]))
    solid = L.member_table(L.CEREBRUM).numpy()[thin]
    mni = np.argwhere(solid) * step @ matrix.T + shift
    low, high = np.percentile(mni, 0.1, axis=0), np.percentile(mni, 99.9, axis=0)
    scale = np.array([2 * HALF_WIDTH / (high[0] - low[0]), (FRONT - BACK) / (high[1] - low[1]), 1.0])
    offset = np.array([-scale[0] * (low[0] + high[0]) / 2, FRONT - scale[1] * high[1], 0.0])
    if fitted:
        scale[2] = np.clip(TOP / max(high[2], 1.0), 0.75, 1.3)
    else:
        scale[2] = scale[1]
        offset[2] = TOP - scale[2] * high[2]
    return np.concatenate([scale[:, None] * matrix, (scale * shift + offset)[:, None]], 1)
