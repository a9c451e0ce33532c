"""A two-sample test: can a small classifier tell real brain slices from synthetic ones?

Every slice becomes the same kind of picture first: window level 40, width 120, 650 x 650, JPEG of one
quality, the head's box resized to 192 pixels. A slice is described by numbers that need no pixel size: its
grey levels, their change with depth below the bone, the power spectrum of patches inside the skull, what is
left above smoothing, how alike neighbours are, and the outline. A logistic regression with fixed penalty is
trained on all scans but some and tested on those: a scan's slices never lie on both sides. 0.5 is chance,
1.0 certainty. Six real scans are few: one that is left out often looks unlike all others. The same by slice
says what can be told where that is not so.
"""

from __future__ import annotations

import io
import itertools

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from tools.core.files import jpeg_bytes
from tools.core.windows import CT_ICH_WINDOW
from tools.phantom.ct_ich_layout import picture, windowed

#: Pixels of the side of a head's box.
SIDE = 192

#: Grey from which a pixel of the window is bone; JPEG leaves ripples below white.
BONE = 225


def as_picture(plane: np.ndarray, pixel: float) -> np.ndarray:
    """Slice (X, Y) of HU as a JPEG picture of the brain window, read back: (650, 650) uint8."""
    grey = windowed(torch.as_tensor(np.ascontiguousarray(plane)), CT_ICH_WINDOW)
    return reencoded(picture(grey, (pixel, pixel), Image.Resampling.BICUBIC))


def reencoded(grey: np.ndarray) -> np.ndarray:
    """A picture through JPEG once more."""
    return np.asarray(Image.open(io.BytesIO(jpeg_bytes(grey))))


def inside(grey: np.ndarray) -> np.ndarray:
    """Mask of the largest hole in the bone of a picture."""
    bone = ndimage.binary_closing(np.pad(grey >= BONE, 12), iterations=5)[12:-12, 12:-12]
    hole = ndimage.binary_fill_holes(bone) & ~bone
    parts, count = ndimage.label(hole)
    return parts == np.bincount(parts.ravel())[1:].argmax() + 1 if count else hole


def head_box(grey: np.ndarray) -> np.ndarray | None:
    """The box of the skull in a picture, resized to `SIDE` along its height; None where no brain is seen."""
    bone, _ = ndimage.label(ndimage.binary_closing(np.pad(grey >= BONE, 12), iterations=8)[12:-12, 12:-12])
    if not bone.any():
        return None
    skull = bone == np.bincount(bone.ravel())[1:].argmax() + 1
    rows, columns = np.flatnonzero(skull.any(1)), np.flatnonzero(skull.any(0))
    box = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    width = max(8, round(SIDE * box.shape[1] / box.shape[0]))
    box = np.asarray(Image.fromarray(box).resize((width, SIDE), Image.Resampling.BOX))
    hole = inside(box)
    return box if hole.sum() > 0.3 * box.size else None


def spectrum(box: np.ndarray, depth: np.ndarray, n: int = 32) -> np.ndarray:
    """Log power in 8 rings of patches inside the skull."""
    window = np.hanning(n)[:, None] * np.hanning(n)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(n)] * 2))
    total, count = np.zeros((n, n)), 0
    for i in range(0, box.shape[0] - n, n // 2):
        for j in range(0, box.shape[1] - n, n // 2):
            if depth[i : i + n, j : j + n].min() > 3:
                patch = box[i : i + n, j : j + n]
                total += np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2
                count += 1
    edges = np.linspace(0.02, 0.5, 9)
    rings = [(frequency >= a) & (frequency < b) for a, b in itertools.pairwise(edges)]
    return np.log([max(total[ring].mean() / max(count, 1), 1.0) for ring in rings])


def features(box: np.ndarray) -> np.ndarray:
    """What describes a head's box (rows, columns) uint8: float64 of a fixed length."""
    grey = box.astype(float)
    hole = inside(box)
    depth = ndimage.distance_transform_edt(hole)
    deep = depth > 3
    histogram, _ = np.histogram(grey[deep], bins=[0, *range(30, 190, 8), 256])
    parts = [np.sqrt(histogram / max(deep.sum(), 1))]
    edges = (1, 2, 3, 4, 6, 9, 14, 22, 40)
    for low, high in itertools.pairwise(edges):
        ring = grey[(depth > low) & (depth <= high)]
        parts.append(np.percentile(ring, (10, 50, 90)) / 50 if ring.size else np.zeros(3))
    parts.append(spectrum(grey, depth))
    for sigma in (0.7, 1.5, 3.0):
        rest = (grey - ndimage.gaussian_filter(grey, sigma))[deep]
        spread = rest.std() + 1e-6
        tails = [((rest / spread) ** 3).mean(), ((rest / spread) ** 4).mean()]
        parts.append(np.array([np.log(spread), *np.tanh(np.array(tails) / 6)]))
    centred = np.where(deep, grey - grey[deep].mean(), 0)
    for shift in ((1, 0), (0, 1), (2, 0), (0, 2), (4, 0), (0, 4)):
        other = np.roll(centred, shift, (0, 1))
        both = deep & np.roll(deep, shift, (0, 1))
        parts.append([(centred * other)[both].mean() / centred[both].var()])
    flipped = grey[:, ::-1]
    both = deep & deep[:, ::-1]
    parts.append([np.corrcoef(grey[both], flipped[both])[0, 1] if both.sum() > 50 else 0.0])
    bone = grey >= BONE
    parts.append([hole.mean(), bone.mean(), box.shape[1] / box.shape[0], (grey < 3).mean()])
    return np.concatenate([np.atleast_1d(np.asarray(p, float)) for p in parts])


def slices_of(hu: np.ndarray, pixel: float, most: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Boxes of up to `most` slices of a volume (X, Y, Z) that show brain."""
    found = []
    for k in rng.permutation(hu.shape[2]):
        box = head_box(as_picture(hu[:, :, k], pixel))
        if box is not None:
            found.append(box)
        if len(found) == most:
            break
    return found


def fit(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, penalty: float = 3e-3) -> torch.Tensor:
    """Coefficients of a weighted logistic regression, the last one the intercept."""
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    w = torch.zeros(x.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(x @ w, y, weight) * len(y)
        loss = loss / weight.sum() + penalty * w[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return w.detach()


def balanced(y: np.ndarray) -> np.ndarray:
    """Weights with which both classes count the same; they sum to 2."""
    return np.where(y == 1, 1 / max((y == 1).sum(), 1), 1 / max((y == 0).sum(), 1))


def judged(x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Scores of the test slices by logistic regression."""
    mean, spread = x[train].mean(0), x[train].std(0) + 1e-6
    scaled = torch.as_tensor(((x - mean) / spread).clip(-5, 5), dtype=torch.float32)
    weight = torch.as_tensor(balanced(y[train]), dtype=torch.float32)
    w = fit(scaled[train], torch.as_tensor(y[train], dtype=torch.float32), weight)
    return scaled[test].numpy() @ w[:-1].numpy() + float(w[-1])


def two_sample(
    real: list[list[np.ndarray]], synthetic: list[list[np.ndarray]], folds: int = 6
) -> dict[str, float]:
    """Cross-validated by scan, and for comparison by slice.

    Args:
        real, synthetic: boxes of each scan.
        folds: number of parts into which scans, or the slices of each scan, are dealt.

    Returns:
        Balanced accuracy, the shares of real and of synthetic slices that were recognised, and the area
        under the ROC curve, all by scan; then accuracy and area by slice, where the classifier has seen
        other slices of the same scans.
    """
    boxes, y, scan_fold, slice_fold = [], [], [], []
    for value, scans in ((1, real), (0, synthetic)):
        for number, scan in enumerate(scans):
            boxes += scan
            y += [value] * len(scan)
            scan_fold += [number % folds] * len(scan)
            slice_fold += [k % folds for k in range(len(scan))]
    y, x = np.asarray(y), np.stack([features(box) for box in boxes])

    def tried(fold: np.ndarray) -> tuple[dict[int, float], float]:
        score = np.zeros(len(y))
        for part in set(fold.tolist()):
            score[fold == part] = judged(x, y, fold != part, fold == part)
        found = {value: float(((score > 0) == value)[y == value].mean()) for value in (0, 1)}
        return found, float((score[y == 1][:, None] > score[y == 0]).mean())

    found, area = tried(np.asarray(scan_fold))
    seen, seen_area = tried(np.asarray(slice_fold))
    return {
        "accuracy": (found[0] + found[1]) / 2,
        "real found": found[1],
        "synthetic found": found[0],
        "AUC": area,
        "by slice: accuracy": (seen[0] + seen[1]) / 2,
        "by slice: AUC": seen_area,
    }
